// Command bench measures Carillon and prints one line a figure:
//
//	BENCH <name> <median> <unit> (<least>..<greatest> of <n> rounds) <what it is>
//
//	go run ./bench                      all, about 20 minutes on two quiet cores
//	go run ./bench -only herd,lock      some; an unknown name is exit code 2
//	go run ./bench -rounds 5            more rounds; three are the least
//	go run ./bench -toy                 toy sizes: that it works, not how fast
//
// Each figure is the median of rounds of one run. Ratios are formed round by
// round, of sides that took turns: a peer's or a raw baseline's, and ours. A
// benchmark that cannot measure what it says fails: the exit code is 1 then, and
// the others run all the same.
//
// Etcd, nodes, minions and engines are processes of their own: this program in one
// of its roles, so that their memory and processor time can be told apart.
// Minions are connected by mutual TLS. README.md says what each benchmark
// measures, what it does not, and what was last measured.
//
// All benchmarks run at toy size in the package's tests.
//
// # Tests
//
// The toys start etcd, nodes and minions as processes of their own, three rounds each,
// and fires are due at whole seconds: two minutes, of which most is waiting.
package main

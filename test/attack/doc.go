// Package attack holds what intruders try, as tests: each test is an attack on
// real processes, with real accounts and real certificates, and passes when the
// attack fails. An attack that once succeeded stays here for good.
//
// A test file per area of attack; what they share is in
//
//	main_test.go         the binaries, built once, and an etcd for all nodes
//	process_test.go      a process, which ends with its test
//	node_test.go         a node, its API, and the command line
//	minion_test.go       a minion, and how it joins
//	account_test.go      another account of the host
//	browser_test.go      a browser, and a site whose pages attack
//	certificate_test.go  certificates of every kind, good and bad
//
// The tests need root, to act as other accounts. They wait for conditions, never
// for a time, and may be run twice at once.
//
// # Tests
//
// The tests build the three programs, start a browser and make thousands of
// connections: a minute.
package attack

// Command server is an etcd for tests in a process of its own: with the race detector,
// as part of a test, it would take several times as long, and be most of what tests
// take. It prints its address, and ends when its input does.
//
//	server DIR ADDRESS
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest/member"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: server DIR ADDRESS")
		os.Exit(2)
	}
	e, err := member.Start(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(e.Clients[0].Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until who started it wants no more of it, or is gone
	e.Close()
}

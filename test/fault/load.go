package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// busyArgument makes this program use one processor and do nothing else.
const busyArgument = "busy"

// runBusy is busy until it is killed.
func runBusy([]string) error {
	for n := uint64(1); n != 0; n = n*6364136223846793005 + 1442695040888963407 {
		continue
	}
	return errors.New("the numbers came to their end")
}

// busy starts programs that are busy, and returns what ends them.
func busy(program string, n int) (stop func(), err error) {
	var all []*exec.Cmd
	stop = func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	for i := range n {
		cmd := exec.Command(program, busyArgument, strconv.Itoa(i))
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("busy program: %w", err)
		}
		all = append(all, cmd)
	}
	return stop, nil
}

package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/carillon-cron/carillon/job"
)

// trace counts how often each fire ran.
type trace map[job.FireID]int

// readTrace reads the file to which the tasks append. A line that is not a fire
// id is an error: a line is one write, and cannot be torn.
func readTrace(path string) (trace, error) {
	f, err := os.Open(path) //nolint:gosec // our own file
	if os.IsNotExist(err) {
		return trace{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	defer func() { _ = f.Close() }()
	t := trace{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		id, err := job.ParseFireID(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("trace, line %d: %w", n, err)
		}
		t[id]++
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return t, nil
}

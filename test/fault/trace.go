package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// traceLine appends a line to the trace, by one write: the fire id, the token of
// the order, and when the kernel made the process, in hundredths of a second since
// the machine's start. All of it is done by the shell itself.
const traceLine = `read -r stat </proc/self/stat; set -- ${stat##*) }; echo "$CARILLON_FIRE_ID $CARILLON_TOKEN ${20}" >>"$TRACE"`

// trace counts how often each fire ran.
type trace map[job.FireID]int

// started is one line of the trace.
type started struct {
	fire  job.FireID
	token job.Token
	at    time.Time
}

// readTrace reads the file to which the tasks append. A line that is not what
// they write is an error: a line is one write, and cannot be torn.
func readTrace(path string) (trace, []started, error) {
	f, err := os.Open(path) //nolint:gosec // our own file
	if os.IsNotExist(err) {
		return trace{}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("trace: %w", err)
	}
	defer func() { _ = f.Close() }()
	boot, err := bootTime()
	if err != nil {
		return nil, nil, err
	}
	t := trace{}
	var all []started
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		s, err := parseStarted(lines.Text(), boot)
		if err != nil {
			return nil, nil, fmt.Errorf("trace, line %d: %w", n, err)
		}
		t[s.fire]++
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("trace: %w", err)
	}
	return t, all, nil
}

func parseStarted(line string, boot time.Time) (started, error) {
	words := strings.Fields(line)
	if len(words) != 3 {
		return started{}, fmt.Errorf("%q: want FIRE TOKEN START", line)
	}
	fire, err := job.ParseFireID(words[0])
	if err != nil {
		return started{}, err
	}
	token, err := job.ParseToken(words[1])
	if err != nil {
		return started{}, err
	}
	ticks, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return started{}, fmt.Errorf("start: %w", err)
	}
	return started{fire, token, boot.Add(time.Duration(ticks) * time.Second / 100)}, nil
}

// bootTime returns when /proc/uptime began to count.
func bootTime() (time.Time, error) {
	now := time.Now()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, fmt.Errorf("uptime: %w", err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("uptime: %w", err)
	}
	return now.Add(-time.Duration(up * float64(time.Second))), nil
}

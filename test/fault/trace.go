package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-cron/carillon/job"
)

// traceLine appends a line to the trace, by one write: the fire id, the token of
// the order, when the kernel made the process, in hundredths of a second since
// the machine's start, the minion, the attempt, the exit code with which it will end,
// and the version of the command, which is its first word after the line. All of it is
// done by the shell itself. Then it goes on for LASTS seconds, if that is given.
const traceLine = `read -r stat </proc/self/stat; set -- ${stat##*) }; ` +
	`echo "$CARILLON_FIRE_ID $CARILLON_TOKEN ${20} $CARILLON_MINION $CARILLON_ATTEMPT ${EXITS:-0} ${0##*/}" >>"$TRACE"; ` +
	`[ -z "$LASTS" ] || sleep "$LASTS"; exit "${EXITS:-0}"`

// trace counts how often each fire ran.
type trace map[job.FireID]int

// started is one line of the trace.
type started struct {
	fire    job.FireID
	token   job.Token
	at      time.Time
	minion  job.MinionID
	attempt int
	// exits is the exit code with which it ends, unless it is ended. version is that
	// of the command; 0: it has none.
	exits, version int
}

// readTrace reads the file to which the tasks append. A line that is not what
// they write is an error: a line is one write, and cannot be torn.
func readTrace(path string) (trace, []started, error) {
	f, err := os.Open(path)
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
	if len(words) != 7 {
		return started{}, fmt.Errorf("%q: want FIRE TOKEN START MINION ATTEMPT EXITS VERSION", line)
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
	attempt, err2 := strconv.Atoi(words[4])
	exits, err3 := strconv.Atoi(words[5])
	if err := errors.Join(err, err2, err3); err != nil {
		return started{}, err
	}
	s := started{fire: fire, token: token, at: boot.Add(time.Duration(ticks) * time.Second / 100), minion: job.MinionID(words[3]), attempt: attempt, exits: exits}
	if text, numbered := strings.CutPrefix(words[6], "v"); numbered {
		s.version, err = strconv.Atoi(text)
	}
	return s, err
}

// bootTime returns when the kernel began to count. Both clocks are looked at again until
// that took hardly any time: on a busy machine others run in between.
func bootTime() (boot time.Time, err error) {
	least := time.Hour
	for range 1000 {
		var up unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
			return time.Time{}, fmt.Errorf("uptime: %w", err)
		}
		if took := time.Since(before); took < least {
			boot, least = before.Add(-time.Duration(up.Nano())), took
		}
		if least < time.Millisecond {
			break
		}
	}
	return boot, nil
}

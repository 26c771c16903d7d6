package shim

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/carillon-cron/carillon/worker/program"
)

// protocolVersion is part of the socket's name: agents and shims of different
// protocols do not meet.
const protocolVersion = "v1"

const maxFrame = 64 << 20

// Spec tells the shim to start one command.
type Spec struct {
	// Key names the command; it is used as a file name.
	Key string `json:"key"`
	// Path is the program, Args its argv with args[0], Dir where it starts.
	Path string `json:"path"`
	// Identity is what the program's file was when it was looked at; another one
	// is not started. Nil: it does not matter.
	Identity *program.Identity `json:"identity,omitempty"`
	Args     []string          `json:"args"`
	Env      []string          `json:"env"`
	Dir      string            `json:"dir"`
	// User is who runs it; nil is the shim's own user.
	User *Credential `json:"user,omitempty"`
	// Timeout is the longest it may run; zero is no limit.
	Timeout time.Duration `json:"timeout,omitempty"`
	// StartBy is when the command may be started at the latest, on the clock of
	// package boottime; zero: whenever.
	StartBy time.Duration `json:"startBy,omitempty"`
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration `json:"grace,omitempty"`
	// Marks are entries of Env by which the command's processes are known.
	Marks []string `json:"marks,omitempty"`
	// Output is the file for the full output, and OutputCap how long it may
	// grow; what comes later is only counted.
	Output    string `json:"output"`
	OutputCap int64  `json:"outputCap"`
	// Mask are texts that are kept out of the output: it has *** instead.
	Mask []string `json:"mask,omitempty"`
	// Cgroup is the directory of the command's own control group; the shim
	// removes it once it is empty. Empty: none.
	Cgroup string `json:"cgroup,omitempty"`
	// Bounded: the group has limits, and the command must not run outside of it.
	Bounded bool `json:"bounded,omitempty"`
}

// Credential is a user with all its groups.
type Credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups"`
}

// Kill ends a command.
type Kill struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// Cause says who ended a command that did not end by itself.
type Cause string

// The causes.
const (
	CauseNone    Cause = ""
	CauseTimeout Cause = "timeout"
	CauseKill    Cause = "kill" // the agent asked for it
	CauseStop    Cause = "stop" // the shim was told to end
)

// Started says that a command runs.
type Started struct {
	Key string `json:"key"`
	PID int    `json:"pid"`
	// Ticks is the process's start time, in clock ticks since boot.
	Ticks uint64 `json:"ticks"`
	// At is the wall clock in nanoseconds.
	At int64 `json:"at"`
}

// Ended is the exit record of a command.
type Ended struct {
	Key string `json:"key"`
	// Failure says why the command could not be started; then the rest is empty.
	Failure string `json:"failure,omitempty"`
	// Late, with a failure: it was not started because its StartBy had passed.
	Late bool `json:"late,omitempty"`
	// Code is the exit code, -1 after a signal, whose name is Signal.
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
	Cause  Cause  `json:"cause,omitempty"`
	// Reason is the reason of the Kill.
	Reason string `json:"reason,omitempty"`
	// OOM: the kernel has ended processes of the command because they needed
	// more memory than the group may have.
	OOM bool `json:"oom,omitempty"`

	StartedAt int64 `json:"startedAt"`
	EndedAt   int64 `json:"endedAt"`

	UserCPU   time.Duration `json:"userCpu,omitempty"`
	SystemCPU time.Duration `json:"systemCpu,omitempty"`
	// MaxRSS is in bytes. The kernel counts from the fork on, so it is never
	// less than the shim's own size.
	MaxRSS int64 `json:"maxRss,omitempty"`

	Stdout Part `json:"stdout,omitzero"`
	Stderr Part `json:"stderr,omitzero"`
}

// Part is the head and the tail of a stream. Together they are all of it when
// Bytes is the sum of their lengths.
type Part struct {
	Head  []byte `json:"head,omitempty"`
	Tail  []byte `json:"tail,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
}

// Hello is the first thing that an agent hears.
type Hello struct {
	// Instance is new at every start of a shim.
	Instance string `json:"instance"`
	PID      int    `json:"pid"`
	// Masks: it does what Spec.Mask says. A shim of an earlier release does not.
	Masks   bool      `json:"masks,omitempty"`
	Running []Started `json:"running,omitempty"`
	// Ended are the exit records that were not forgotten yet.
	Ended []Ended `json:"ended,omitempty"`
}

// Event is what a shim tells.
type Event struct {
	Hello   *Hello    `json:"hello,omitempty"`
	Started []Started `json:"started,omitempty"`
	Ended   []Ended   `json:"ended,omitempty"`
}

// request is what an agent asks.
type request struct {
	Start  []Spec   `json:"start,omitempty"`
	Kill   []Kill   `json:"kill,omitempty"`
	Forget []string `json:"forget,omitempty"`
	// Leave: the agent goes for good. A shim without a task ends at once.
	Leave bool `json:"leave,omitempty"`
}

func writeFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return fmt.Errorf("frame has %d bytes, at most %d are allowed", len(body), maxFrame)
	}
	buf := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(buf, uint32(len(body))) // checked above
	_, err = w.Write(append(buf, body...))
	return err
}

func readFrame(r *bufio.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("frame has %d bytes, at most %d are allowed", n, maxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

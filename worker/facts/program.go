package facts

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// searchPath is what programs find others by.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var errTooLong = fmt.Errorf("prints more than %d bytes", MaxBytes)

// bounded keeps what is written to it, and refuses more than MaxBytes.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxBytes {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// start keeps the start of what is written to it.
type start struct{ bytes.Buffer }

func (s *start) Write(p []byte) (int, error) {
	const enough = 500
	_, _ = s.Buffer.Write(p[:min(len(p), max(0, enough-s.Len()))]) // never fails
	return len(p), nil
}

// run returns what a program prints.
func run(ctx context.Context, path string, timeout time.Duration) ([]byte, error) {
	timeout = cmp.Or(timeout, Timeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = []string{searchPath, "LANG=C", "HOME=/"}
	out, problems := &bounded{}, &start{}
	cmd.Stdout, cmd.Stderr = out, problems
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("exceeded its %s timeout and was killed", timeout)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	if text := strings.TrimSpace(strings.ToValidUTF8(problems.String(), "?")); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return nil, err
}

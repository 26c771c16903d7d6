package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/program"
)

// Timeout is how long a program may take to tell a value.
const Timeout = 10 * time.Second

// Find finds out the value that a job's order refers to. A nil list admits nothing.
// Its errors say to people why there is no value, and hold none (S4).
func (l *List) Find(ctx context.Context, of job.Key, ref *job.SecretRef) (string, error) {
	if l == nil {
		return "", fmt.Errorf("this minion finds out no secrets; its operator allows them by worker --secrets FILE")
	}
	if err := ref.Check(); err != nil {
		return "", err
	}
	if !l.admits(of, ref) {
		return "", fmt.Errorf("no rule of this minion's list of secrets, %s, allows job %s the %s", l.file, of, ref)
	}
	var value []byte
	var err error
	switch {
	case ref.File != "":
		value, err = readFile(ref.File)
	case ref.Env != "":
		v, ok := os.LookupEnv(ref.Env)
		if value = []byte(v); !ok {
			err = errors.New("the minion's service does not have it in its environment")
		}
	default:
		value, err = run(ctx, of, ref.Exec)
	}
	if err == nil {
		value, err = trimmed(value)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", ref, err)
	}
	return string(value), nil
}

// Open opens the value of a secret that the cluster keeps, and a job's order refers to
// (S7). Its errors say to people why there is no value, and hold none (S4).
func (l *List) Open(of job.Key, ref *job.SecretRef, sealed string, ids *agesecret.Identities) (string, error) {
	key := job.Key{Namespace: of.Namespace, Name: ref.Name}
	switch {
	case l != nil && !l.admits(of, ref):
		return "", fmt.Errorf("no rule of this minion's list of secrets, %s, allows job %s the secret %s", l.file, of, key)
	case sealed == "":
		return "", fmt.Errorf("the order came without secret %s: there is none, or the secrets come to more than %d bytes; see carillon secret show %s -n %s", key, job.MaxSealedInOrder, key.Name, key.Namespace)
	}
	value, err := agesecret.Open(key, sealed, ids)
	switch {
	case errors.Is(err, agesecret.ErrNotRecipient) && ids.Recipient() == "":
		return "", fmt.Errorf("secret %s: this minion has no key that opens secrets", key)
	case errors.Is(err, agesecret.ErrNotRecipient):
		return "", fmt.Errorf("secret %s is not sealed to this minion, whose key is %s; seal it anew, to this one too: carillon secret rotate %s -n %s --from-file FILE --target TARGET, or carillon secret reseal",
			key, ids.Recipient(), key.Name, key.Namespace)
	case err != nil:
		return "", fmt.Errorf("secret %s %w", key, err)
	}
	return value, nil
}

// trimmed takes the line end off a value, and tells why it is none (S5).
func trimmed(v []byte) ([]byte, error) {
	if len(v) > job.MaxSecretBytes {
		return nil, fmt.Errorf("has more than %d bytes, which is the most that a secret may have", job.MaxSecretBytes)
	}
	v = bytes.TrimSuffix(bytes.TrimSuffix(v, []byte("\n")), []byte("\r"))
	switch {
	case len(v) == 0:
		return nil, errors.New("is empty")
	case bytes.IndexByte(v, 0) >= 0:
		return nil, errors.New("has a zero byte, which no variable can hold")
	}
	return v, nil
}

// readFile reads a file that nobody else could have put there (S2).
func readFile(name string) ([]byte, error) {
	at, err := program.Locate(name, os.Geteuid())
	if err != nil {
		return nil, err
	}
	// Not waiting: a pipe that has come in its place is none.
	f, err := os.OpenFile(at.File, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("is not a plain file")
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, job.MaxSecretBytes+1))
}

// limited keeps as much as a value may have, and one byte more.
type limited struct {
	buf  bytes.Buffer
	full func()
}

func (w *limited) Write(p []byte) (int, error) {
	if room := job.MaxSecretBytes + 1 - w.buf.Len(); room < len(p) {
		w.buf.Write(p[:room])
		w.full()
		return len(p), nil
	}
	return w.buf.Write(p)
}

// run returns what a program writes (S3).
func run(ctx context.Context, of job.Key, argv []string) ([]byte, error) {
	at, err := program.Locate(argv[0], os.Geteuid())
	if err != nil {
		return nil, err
	}
	if err := at.Identity.Check(at.Name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	out := &limited{full: cancel}
	env := []string{job.EnvPrefix + "NAMESPACE=" + of.Namespace, job.EnvPrefix + "JOB=" + of.Name}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, job.EnvPrefix) { // the join token is one of these
			env = append(env, kv)
		}
	}
	cmd, err := begin(ctx, func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, at.Name, argv[1:]...)
		cmd.Args[0], cmd.Dir, cmd.Stdout, cmd.Env = argv[0], "/", out, env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		return cmd
	})
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case out.buf.Len() > job.MaxSecretBytes:
		return out.buf.Bytes(), nil // told by its size
	case errors.Is(err, syscall.ETXTBSY):
		return nil, fmt.Errorf("somebody has had the program open for writing for %s", Timeout)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("has not ended within %s", Timeout)
	case ctx.Err() != nil:
		return nil, errors.New("was ended, because the minion stops")
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%w; run it by hand as the minion's account to see why", exit)
	case err != nil:
		return nil, err
	}
	return out.buf.Bytes(), nil
}

// busyPause lies between two tries to start a program that is busy.
const busyPause = 20 * time.Millisecond

// begin starts a program. One that was written a moment ago is busy for as long as a
// process that was forked meanwhile has not closed it: it is tried again until ctx ends.
func begin(ctx context.Context, command func() *exec.Cmd) (*exec.Cmd, error) {
	for {
		cmd := command()
		err := cmd.Start()
		if !errors.Is(err, syscall.ETXTBSY) {
			return cmd, err
		}
		select {
		case <-ctx.Done():
			return cmd, err
		case <-time.After(busyPause):
		}
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/lockexec"
	"github.com/carillon-cron/carillon/job"
)

// lockVerbs are the verbs of locks.
type lockVerbs struct{ *call }

// lockFlags are what a user may say about a lock.
type lockFlags struct {
	ttl, wait, maxHold, grace, delay time.Duration
	try, shared, preempt             bool
	limit, priority                  int
	purpose                          string
}

// The variables that a command under a lock finds.
const (
	envLockToken = "CARILLON_LOCK_TOKEN"
	envLockName  = "CARILLON_LOCK_NAME"
)

func (lk lockVerbs) lockCommand() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use: "lock NAME [flags] -- COMMAND [ARGUMENT...]", GroupID: groupCluster,
		Short: "Run a command under a lock; list, show and break locks",
		Long: "Run a command while a lock is held. Its exit code is the command's. The command\n" +
			"finds the lock's fencing token in " + envLockToken + " and the name in " + envLockName + ".\n" +
			"When the lock is lost, broken, preempted or held for too long, and when this\n" +
			"program is killed or stopped, the command is ended with all that it has started,\n" +
			"before the lock can be granted to anybody else. It gets standard input, output and\n" +
			"error, and no other open file of the caller.\n\n" +
			"A lock that is called list, show or break is named with its namespace:\n" +
			"`carillon lock default/list -- ...`.",
		Example: "  carillon lock deploy -- ./deploy.sh prod\n" +
			"  carillon lock db --shared --wait 1m -- pg_dump app\n" +
			"  carillon lock gpu --limit 4 -- train.py\n" +
			"  carillon lock list",
		RunE: func(cmd *cobra.Command, args []string) error { return lk.lockRun(cmd, args, &f) },
	}
	fs := cmd.Flags()
	addDuration(fs, &f.ttl, "ttl", 15*time.Second, "how long the lock outlives a holder that is gone")
	addDuration(fs, &f.wait, "wait", 0, "give up waiting after this `TIME` (0: never)")
	fs.BoolVar(&f.try, "try", false, "do not wait at all")
	fs.BoolVar(&f.shared, "shared", false, "hold it together with others that share it")
	fs.IntVar(&f.limit, "limit", 0, "let up to `N` hold it at once; all must say the same")
	fs.IntVar(&f.priority, "priority", 0, "higher is served first")
	fs.BoolVar(&f.preempt, "preempt", false, "ask holders of a lower priority to make room")
	addDuration(fs, &f.grace, "grace", 0, "how long the command may go on when somebody preempts it")
	addDuration(fs, &f.maxHold, "max-hold", 0, "end the command after this `TIME` (0: never)")
	addDuration(fs, &f.delay, "lock-delay", 0, "keep others out for this `TIME` if the lock is lost without being freed")
	fs.StringVar(&f.purpose, "purpose", "", "`TEXT` that tells others what for (default: the command)")
	cmd.AddCommand(lk.lockListCommand(), lk.lockShowCommand(), lk.lockBreakCommand())
	return cmd
}

// check returns all that is wrong with the flags.
func (f *lockFlags) check(cmd *cobra.Command) error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(f.ttl < api.MinLockTTL || f.ttl > api.MaxLockTTL, "--ttl %v: %v to %v are allowed", f.ttl, api.MinLockTTL, api.MaxLockTTL)
	bad(f.wait < 0, "--wait %v: give a time above zero, or 0 for ever", f.wait)
	bad(f.try && f.wait > 0, "--try and --wait: give one of the two")
	bad(cmd.Flags().Changed("limit") && f.limit < 1, "--limit %d: give 1 or more", f.limit)
	bad(f.shared && f.limit > 0, "--shared and --limit: give one of the two")
	bad(f.maxHold < 0, "--max-hold %v: give a time above zero, or 0 for ever", f.maxHold)
	bad(f.grace < 0, "--grace %v: give 0 or more", f.grace)
	bad(f.delay < 0, "--lock-delay %v: give 0 or more", f.delay)
	if len(errs) == 0 {
		return nil
	}
	return &usageError{errors.Join(errs...)}
}

// lockRun runs a command under a lock.
func (lk lockVerbs) lockRun(cmd *cobra.Command, args []string, f *lockFlags) error {
	dash := cmd.ArgsLenAtDash()
	switch {
	case len(args) == 0 || dash == 0:
		return usagef("specify a lock and a command, NAME -- COMMAND, or list, show NAME, break NAME")
	case dash < 0 || len(args) == dash:
		if dash < 0 && len(args) == 1 && !strings.Contains(args[0], "/") {
			if hint := didYouMean(args[0], []string{"list", "show", "break"}); hint != "" {
				return usagef("no command to run under lock %q%s", args[0], hint)
			}
		}
		return usagef("no command to run under lock %q: give it after --, as in `carillon lock %s -- make deploy`", args[0], args[0])
	case dash != 1:
		return usagef("%s takes one name before --, and got %s", cmd.CommandPath(), strings.Join(args[:dash], ", "))
	}
	key, err := lk.keyOf("lock", args[0])
	if err := errors.Join(err, f.check(cmd)); err != nil {
		return &usageError{err}
	}
	command := args[1:]
	if f.purpose == "" {
		f.purpose = strings.Join(command, " ")
		f.purpose = f.purpose[:min(len(f.purpose), 200)]
	}
	// The command's end decides when we end, not the first signal.
	l := &locking{a: lk.call, ctx: context.WithoutCancel(cmd.Context()), key: key, flags: f, place: uuid.NewString()}
	return l.run(cmd.Context(), command)
}

// locking is one call of `carillon lock`.
type locking struct {
	a       *call
	ctx     context.Context // of the call; it outlives signals
	key     job.Key
	flags   *lockFlags
	place   string
	session api.LockSession
	// deadline is until when the session may be relied on, by lockexec.Now.
	deadline time.Duration
}

func (l *locking) ttl() time.Duration { return time.Duration(l.session.TTL) * time.Second }

// margin is taken off the session's life: it ends for us before the server can
// end it. killing is the part of the rest that ending the command may take.
func (l *locking) margin() time.Duration  { return max(l.ttl()/5, 300*time.Millisecond) }
func (l *locking) killing() time.Duration { return min(l.ttl()/5, 2*time.Second) }

func (l *locking) run(interrupted context.Context, command []string) error {
	if err := l.open(interrupted); err != nil {
		return err
	}
	defer l.close()
	token, err := l.acquire(interrupted)
	if err != nil {
		return err
	}
	stdin, _ := l.a.opts.Stdin.(*os.File)
	stderr, _ := l.a.opts.Stderr.(*os.File)
	stdout, _ := l.a.opts.Stdout.(*os.File)
	keeper, err := lockexec.Start(lockexec.Command{
		Args: command, Grace: l.killing(), Deadline: l.deadline, Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Env: append(slices.Clone(l.a.opts.Env), envLockToken+"="+token.String(), envLockName+"="+l.key.String()),
	})
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	why := make(chan string, 1)
	go l.keep(keeper, stop, why) // ends with stop
	code, err := keeper.Wait()
	close(stop)
	if errors.Is(err, lockexec.ErrNotStarted) {
		return &exitError{code: 127, err: err}
	}
	if err != nil {
		return err
	}
	select {
	case reason := <-why:
		return &exitError{code: exitFailed, err: fmt.Errorf("lock %s: %s; the command was ended", l.key, reason)}
	default:
	}
	l.a.code = code
	return nil
}

func (l *locking) open(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	sent := lockexec.Now()
	l.session, err = l.a.client.Locks.Open(ctx, fmt.Sprintf("%s@%s, process %d", l.a.user(), host, os.Getpid()), l.flags.ttl)
	l.deadline = sent + l.ttl() - l.margin()
	return err
}

// close gives the lock back with the session.
func (l *locking) close() {
	ctx, cancel := context.WithTimeout(l.ctx, l.ttl())
	defer cancel()
	req := api.LockRequest{Session: l.session.Session, Place: l.place, Shared: l.flags.shared, Limit: l.flags.limit, Priority: l.flags.priority}
	// Released first: so that it is handed over, and no lock delay keeps others out.
	if err := l.a.client.Locks.Release(ctx, l.key, req); err != nil {
		if isNotFound(err) {
			return // it has ended already
		}
		l.a.note("lock %s: not freed; it expires within %v: %v", l.key, l.ttl(), err)
		return
	}
	_ = l.a.client.Locks.Close(ctx, l.session.Session) // it ends by itself
}

// lockPoll is how long a node may hold a request back that waits.
const lockPoll = 10 * time.Second

// acquire waits for the lock, for as long as the user wants to.
func (l *locking) acquire(ctx context.Context) (job.Token, error) {
	f := l.flags
	req := api.LockRequest{
		Session: l.session.Session, Place: l.place, Purpose: f.purpose, Shared: f.shared, Limit: f.limit, Priority: f.priority,
		Preempt: f.preempt, Grace: job.Duration(f.grace), MaxHold: job.Duration(f.maxHold), LockDelay: job.Duration(f.delay), Try: f.try,
	}
	until := time.Now().Add(f.wait)
	told := false
	for failures := 0; ; {
		poll := min(lockPoll, l.ttl()/3)
		if f.wait > 0 {
			poll = max(min(poll, time.Until(until)), 0)
		}
		if !f.try {
			req.Wait = job.Duration(poll)
		}
		answer, err := l.a.client.Locks.Acquire(ctx, l.key, req)
		var gone *client.UnreachableError
		switch {
		case err == nil && answer.Held:
			return answer.Token, l.renewOnce(l.ctx, nil)
		case err == nil && f.try:
			return job.Token{}, &exitError{code: exitConflict, err: fmt.Errorf("lock %s is not free: %s", l.key, whoHolds(l.a, answer.Status))}
		case err == nil && f.wait > 0 && time.Now().After(until):
			return job.Token{}, &exitError{code: exitTimedOut, err: fmt.Errorf("lock %s was not got within %v: %s", l.key, f.wait, whoHolds(l.a, answer.Status))}
		case errors.As(err, &gone) && failures < 5 && ctx.Err() == nil:
			failures++
			time.Sleep(200 * time.Millisecond)
			continue
		case err != nil:
			return job.Token{}, err
		}
		failures = 0
		if !told {
			told = true
			l.a.note("waiting for lock %s: %s", l.key, whoHolds(l.a, answer.Status))
		}
		if err := l.renewOnce(ctx, nil); err != nil {
			return job.Token{}, err
		}
	}
}

// renewOnce keeps the session alive. With a keeper it tells it the new deadline.
func (l *locking) renewOnce(ctx context.Context, k *lockexec.Keeper) error {
	_, err := l.renew(ctx, k)
	return err
}

func (l *locking) renew(ctx context.Context, k *lockexec.Keeper) (api.LockRenewal, error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl()/4)
	defer cancel()
	var key job.Key
	var place string
	if k != nil {
		key, place = l.key, l.place
	}
	sent := lockexec.Now()
	r, err := l.a.client.Locks.Renew(ctx, l.session.Session, key, place)
	if err != nil {
		return r, err
	}
	if sent < l.deadline { // what is over stays over
		l.deadline = sent + time.Duration(r.TTL)*time.Second - l.margin()
	}
	if k != nil && r.Held {
		k.Extend(l.deadline)
	}
	return r, nil
}

// keep renews the session until stop, and has the command ended when the lock is
// lost; why tells the reason then. Signals go to the command.
func (l *locking) keep(k *lockexec.Keeper, stop <-chan struct{}, why chan<- string) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	tick := time.NewTicker(max(l.ttl()/8, 100*time.Millisecond))
	defer tick.Stop()
	var tooLong, preempted <-chan time.Time
	if l.flags.maxHold > 0 {
		tooLong = time.After(l.flags.maxHold)
	}
	end := func(reason string) {
		select {
		case why <- reason:
		default:
		}
		k.End()
	}
	ours := ownTerminal(l.a.opts.Stdin)
	for {
		select {
		case <-stop:
			return
		case s := <-signals:
			if sig, ok := s.(syscall.Signal); ok && (!ours || sig != syscall.SIGINT) { // the terminal has told it already
				k.Signal(sig)
			}
			continue
		case <-tooLong:
			end(fmt.Sprintf("held for longer than --max-hold %v", l.flags.maxHold))
		case <-preempted:
			end("preempted by somebody of a higher priority")
		case <-tick.C:
		}
		r, err := l.renew(l.ctx, k)
		switch {
		case err == nil && !r.Held:
			end("lost: it was broken, or its session has ended")
		case err == nil && r.Preempted && preempted == nil:
			l.a.note("lock %s: somebody of a higher priority asks for it; the command has %v", l.key, l.flags.grace)
			preempted = time.After(l.flags.grace)
		case isNotFound(err):
			end("lost: its session has ended")
		case err != nil && lockexec.Now() >= l.deadline-l.killing():
			end("lost: not renewed in time: " + err.Error())
		}
	}
}

func isNotFound(err error) bool {
	var api *client.Error
	return errors.As(err, &api) && api.Status == http.StatusNotFound
}

// ownTerminal reports whether the command shares our terminal, which sends its
// signals to both.
func ownTerminal(in any) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// whoHolds says who has a lock, and how many wait.
func whoHolds(ca *call, v *api.Lock) string {
	switch {
	case v == nil || len(v.Holders) == 0 && v.Delayed > 0:
		return "it was lost a moment ago, and is kept free for its lock delay"
	case len(v.Holders) == 0:
		return "others wait for it"
	}
	h := v.Holders[0]
	text := fmt.Sprintf("%s holds it since %s", h.Holder, ca.stamp(h.Since))
	if h.Purpose != "" {
		text += fmt.Sprintf(" (%s)", h.Purpose)
	}
	if n := len(v.Holders); n > 1 {
		text += fmt.Sprintf(", and %d more", n-1)
	}
	if n := len(v.Waiters); n > 0 {
		text += fmt.Sprintf("; %d wait", n)
	}
	return text
}

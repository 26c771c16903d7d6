package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/job"
)

// signing decides whether orders, questions and cancels may be believed, by their
// signatures.
//
// Nodes sign once all of them can. So a minion that has seen one good signature demands
// it of all that it is told from then on, also when it starts again: whoever forwards orders could
// leave it out otherwise. One that is new has never known anything else, and demands it
// from the start. A minion that has worked before its release knew of signatures takes
// orders without, until it has seen the first one.
type signing struct {
	*base
	// demanded: orders without a signature are refused.
	demanded atomic.Bool
	// changed is told when that changes.
	changed chan struct{}

	mu sync.Mutex
	// mu guards the following: when a refusal was logged, and how many were not since.
	loggedAt  time.Time
	notLogged int
}

// The values of the label of refused orders.
const (
	signatureMissing = "missing"
	signatureWrong   = "wrong"
)

// signedMark is the file that says that orders have to be signed.
const signedMark = "orders-signed"

// logRefusals is the least time between two lines of the log about refusals.
const logRefusals = time.Second

// open finds out what the minion demands. It is called before the journal is made: a
// directory without one is new.
func (sg *signing) open() error {
	if sg.deps.Signatures == nil {
		return nil
	}
	_, err := os.Stat(sg.cfg.path(signedMark))
	if errors.Is(err, os.ErrNotExist) {
		if _, journal := os.Stat(sg.cfg.path("journal")); !errors.Is(journal, os.ErrNotExist) {
			sg.log.Info("orders without a signature are taken until the first one comes that has one")
			return nil
		}
		err = sg.mark()
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	sg.demanded.Store(!sg.cfg.UnsignedOrders)
	if sg.cfg.UnsignedOrders {
		sg.log.Warn("orders without a signature are taken: who forwards orders can change them (--unsigned-orders)")
	}
	return nil
}

// mark has the minion demand signatures when it starts again. It is durable.
func (sg *signing) mark() error {
	f, err := os.OpenFile(sg.cfg.path(signedMark), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (sg *signing) learn(certificates [][]byte) {
	if sg.deps.Signatures != nil && len(certificates) > 0 {
		sg.deps.Signatures.Learn(certificates)
	}
}

// order returns why an order is refused; nil: it may be believed. now is the nodes' time.
func (sg *signing) order(o *job.Order, s *agentpb.Signature, now time.Time) error {
	if sg.deps.Signatures == nil {
		return nil
	}
	node, err := sg.deps.Signatures.Check(o, s, now)
	if err == nil {
		if l := sg.log.Check(zap.DebugLevel, "order of a node"); l != nil {
			l.Write(zap.Stringer("task", o.Task), zap.Stringer("job", o.Key), zap.String("subject", o.Subject), zap.String("author", o.Author), zap.String("node", string(node)))
		}
	}
	return sg.decide("order", o.Task, err, zap.Stringer("job", o.Key), zap.String("subject", o.Subject))
}

// question returns why a question is refused, as order does.
func (sg *signing) question(r *job.Ref, s *agentpb.Signature, now time.Time) error {
	if sg.deps.Signatures == nil {
		return nil
	}
	_, err := sg.deps.Signatures.CheckQuestion(r, s, now)
	return sg.decide("question", r.Task, err)
}

// cancel returns why a cancel is refused, as order does.
func (sg *signing) cancel(r *job.Ref, reason string, s *agentpb.Signature, now time.Time) error {
	if sg.deps.Signatures == nil {
		return nil
	}
	_, err := sg.deps.Signatures.CheckCancel(r, reason, s, now)
	return sg.decide("cancel", r.Task, err, zap.String("reason", reason))
}

// decide returns why what has a signature that was found good, or not, is refused.
func (sg *signing) decide(what string, task job.TaskID, err error, about ...zap.Field) error {
	switch {
	case err == nil:
		sg.seen()
		return nil
	case !errors.Is(err, signature.ErrUnsigned):
		sg.metrics.unsigned.WithLabelValues(signatureWrong).Inc()
	case !sg.demanded.Load():
		return nil
	default:
		sg.metrics.unsigned.WithLabelValues(signatureMissing).Inc()
		err = fmt.Errorf("%w, and this minion takes none without: a node of a release that does not sign has sent it, or who forwarded it has left it out", err)
	}
	err = fmt.Errorf("the minion refuses the %s: %w", what, err)
	sg.tell(append(about, zap.Stringer("task", task), zap.Error(err)))
	return err
}

// seen has seen a good signature.
func (sg *signing) seen() {
	if sg.demanded.Load() || sg.cfg.UnsignedOrders || !sg.demanded.CompareAndSwap(false, true) {
		return
	}
	sg.log.Info("orders are signed: from now on, none is taken without a signature")
	notify(sg.changed)
	if err := sg.mark(); err != nil {
		sg.log.Error("that orders are signed is forgotten when the minion ends", zap.Error(err))
	}
}

// tell logs a refusal. Whoever sends many does not fill the log.
func (sg *signing) tell(about []zap.Field) {
	sg.mu.Lock()
	defer sg.mu.Unlock()
	now := time.Now()
	if now.Sub(sg.loggedAt) < logRefusals {
		sg.notLogged++
		return
	}
	sg.log.Warn("what was said without a good signature of a node is refused", append(about, zap.Int("alsoRefused", sg.notLogged))...)
	sg.loggedAt, sg.notLogged = now, 0
}

// says is what the minion tells of itself, a value of job.FactUnsignedOrders; empty: its
// connection is plain, and nothing is signed.
func (sg *signing) says() string {
	switch {
	case sg.deps.Signatures == nil:
		return ""
	case sg.demanded.Load():
		return job.UnsignedRefused
	case sg.cfg.UnsignedOrders:
		return job.UnsignedAllowed
	}
	return job.UnsignedUntilSigned
}

// demands is 1 while what comes without a signature is refused.
func (sg *signing) demands() float64 {
	if sg.demanded.Load() {
		return 1
	}
	return 0
}

package worker

import "go.uber.org/zap"

// base is what all parts of a minion work with.
type base struct {
	cfg     Config
	deps    Deps
	log     *zap.Logger
	metrics *metrics
	// instance names this process, boot the kernel's boot.
	instance, boot string
	troubles       troubles
	// failed carries the error that ends Run.
	failed chan error
}

func (b *base) crash(point string) { b.deps.Crash(point) }

// fail ends Run when the journal cannot be used any more.
func (b *base) fail(err error) {
	if !fatal(err) {
		b.troubles.journalFailed(err)
		b.log.Error("journal write failed", zap.Error(err))
		return
	}
	select {
	case b.failed <- err:
	default:
	}
}

package minion

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
	"github.com/carillon-cron/carillon/worker/handlersock"
)

// handlers are the programs of this host that do tasks. Without a server there are none.
type handlers struct {
	server *handlersock.Server
	// changed has one place: what is told of them has changed.
	changed chan struct{}
	log     *zap.Logger
}

// serveHandlers opens the socket of the settings, if they name one.
func serveHandlers(cfg *Config, log *zap.Logger) (*handlers, error) {
	h := &handlers{changed: make(chan struct{}, 1), log: log}
	if cfg.Handlers == "" {
		return h, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("socket of handlers: %w", err)
	}
	h.server, err = handlersock.Listen(handlersock.Config{Path: cfg.Handlers, Minion: cmp.Or(cfg.Worker.ID, job.MinionID(host))}, handlersock.Deps{Logger: log, Changed: func() {
		select {
		case h.changed <- struct{}{}:
		default:
		}
	}})
	return h, err
}

// find is worker.Deps.Served.
func (h *handlers) find(name string) worker.Handler {
	if h.server == nil {
		return nil
	}
	return h.server.Handler(name)
}

// told are the minion's offers with those of its programs, and the facts that tell of them.
func (h *handlers) told(own job.QueueOffers) (job.QueueOffers, map[string]string) {
	if h.server == nil {
		return own, nil
	}
	return handlersock.Merged(own, h.server.Offers()), h.server.Facts()
}

// run serves until what it returns is called, which waits for the end. The socket ends
// after the minion: what runs is given back over it.
func (h *handlers) run(ctx context.Context, m *worker.Minion) func() {
	if h.server == nil {
		return func() {}
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.server.Run(serving); err != nil {
			h.log.Error("handlers are not served", zap.Error(err))
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-serving.Done():
				return
			case <-h.changed:
				m.RefreshFacts()
			}
		}
	})
	return func() {
		stop()
		wg.Wait()
	}
}

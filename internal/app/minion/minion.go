package minion

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/internal/httpguard"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
	"github.com/carillon-cron/carillon/worker/allow"
	"github.com/carillon-cron/carillon/worker/secrets"
	"github.com/carillon-cron/carillon/worker/shim"
)

// Config is what a worker process needs.
type Config struct {
	Worker worker.Config
	// MetricsAddr is where the HTTP service listens; empty: nowhere.
	MetricsAddr string

	// Insecure: connections are plain, and only to this host.
	Insecure bool
	// Token, CAFile and TrustFirst are for joining; see auth.CredentialsConfig.
	Token, CAFile string
	TrustFirst    bool
	// TokenFile is the file that holds the token; "-": standard input. Empty: Token
	// is the token. TokenShown: Token stood on the command line.
	TokenFile  string
	TokenShown bool
	// AllowFile lists what may be run; empty: everything.
	AllowFile string
	// SecretsFile lists what jobs may have found out here; empty: nothing.
	SecretsFile string
	// IdentityFile holds an identity of age that hosts share, to which secrets for the
	// minion are sealed; empty: they are to its own, in its data directory.
	IdentityFile string
	// Update says whether the minion updates itself, and how.
	Update Update
	// Queues are those that the minion works on.
	Queues job.QueueOffers
	// Handlers is the socket by which programs of this host do tasks; empty: there is none.
	Handlers string
	// Crash, unless nil, is called at the named places of the protocol.
	Crash func(point string)
}

// Run runs a worker process until ctx is done. SIGHUP has it find out the
// host's facts anew. The error is ErrUpdate when the process should end so that
// its launcher tries the release that is staged.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	up, err := newUpdater(cfg.Update, log) // first: what it inherits is for no other process
	if err != nil {
		return err
	}
	shim.KeepDescriptors() // of whoever started us, for programs that tell facts
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := up.register(reg); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	deps := worker.Deps{Logger: log, Metrics: reg, Crash: cfg.Crash}
	if cfg.Update.On {
		deps.Update = up.offer
	}
	if cfg.AllowFile != "" {
		if deps.Allow, err = allow.Read(cfg.AllowFile); err != nil {
			return fmt.Errorf("--allow: %w", err)
		}
	}
	if cfg.SecretsFile != "" {
		if deps.Secrets, err = secrets.Read(cfg.SecretsFile); err != nil {
			return fmt.Errorf("--secrets: %w", err)
		}
	}
	if !cfg.Insecure {
		creds, err := join(ctx, &cfg, log)
		if ctx.Err() != nil {
			return nil // it was told to end before it had joined
		}
		if err != nil {
			return err
		}
		if deps.Transport, err = transport(creds); err != nil {
			return err
		}
		deps.Signatures = signature.NewChecker(cfg.Worker.ID, creds.Node)
		renewing, stop := context.WithCancel(ctx)
		var renewal sync.WaitGroup
		renewal.Go(func() {
			if err := creds.Run(renewing); err != nil {
				log.Error("the certificate is not renewed", zap.Error(err))
			}
		})
		defer renewal.Wait()
		defer stop()
	}
	if deps.Identities, err = identities(&cfg, log); err != nil {
		return err
	}
	programs, err := serveHandlers(&cfg, log)
	if err != nil {
		return err
	}
	deps.Served = programs.find
	deps.Facts = cfg.facts(up, deps.Identities.Recipient(), programs)
	m, err := worker.New(cfg.Worker, deps)
	if err != nil {
		return err
	}
	defer programs.run(ctx, m)()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	stop := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-hup:
				log.Info("facts are found out anew")
				m.RefreshFacts()
			}
		}
	})
	defer func() {
		signal.Stop(hup)
		close(stop)
		reloads.Wait()
	}()
	if cfg.MetricsAddr == "" {
		return up.run(ctx, m)
	}
	l, err := listen(cfg.MetricsAddr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: Handler(m, reg), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	log.Info("metrics are served", zap.Stringer("address", l.Addr()))
	err = up.run(ctx, m)
	_ = srv.Close()
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// identityFile is the minion's own identity, in its data directory.
const identityFile = "secret-identity"

// identities returns the keys by which the minion opens secrets, that to which they are to
// be sealed first. Its own one is made at the first start.
func identities(cfg *Config, log *zap.Logger) (*agesecret.Identities, error) {
	if err := datadir.MakeMinion(cfg.Worker.DataDir, log); err != nil {
		return nil, err
	}
	ids, err := agesecret.OpenIdentities(filepath.Join(cfg.Worker.DataDir, identityFile))
	if err != nil {
		return nil, fmt.Errorf("the minion's identity for secrets: %w", err)
	}
	if cfg.IdentityFile != "" {
		shared, err := agesecret.ReadIdentities(cfg.IdentityFile)
		if err != nil {
			return nil, fmt.Errorf("--secret-identity: %w", err)
		}
		ids = shared.With(ids)
	}
	log.Info("secrets for this minion are to be sealed to its key", zap.String("recipient", ids.Recipient()))
	return ids, nil
}

// listen opens the HTTP service's address, which must be on this host.
func listen(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("metrics address %q: want host:port, as in \"127.0.0.1:7421\"", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w: metrics address %s is not a loopback address; use one", worker.ErrInsecure, addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics address: %w", err)
	}
	return l, nil
}

// Handler serves /metrics, /livez and /readyz of a minion, to programs and not to
// pages of other sites.
func Handler(m *worker.Minion, reg prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := m.Status()
		var reasons []string
		if s.Node == "" {
			reasons = append(reasons, "not connected to a node")
		}
		if !s.Shim {
			reasons = append(reasons, "not attached to the shim")
		}
		reasons = append(reasons, s.Trouble...)
		if len(reasons) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, strings.Join(reasons, "\n"))
			return
		}
		_, _ = fmt.Fprintf(w, "ok: connected to %s\n", s.Node)
	})
	return httpguard.New(httpguard.Config{}).Handler(mux)
}

// facts are what the process tells of itself beside the host's facts.
func (cfg *Config) facts(up *updater, recipient string, programs *handlers) func() map[string]string {
	return func() map[string]string {
		known := up.facts()
		known[job.FactSecretRecipient] = recipient
		offers, handlers := programs.told(cfg.Queues)
		maps.Copy(known, handlers)
		if len(offers) > 0 {
			known[job.FactQueues] = offers.String()
		}
		return known
	}
}

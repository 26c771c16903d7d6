package webui

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/job"
)

// Control is what the pages show.
type Control interface {
	Jobs(ctx context.Context, q control.JobQuery) ([]control.JobView, error)
	Job(ctx context.Context, key job.Key) (control.JobView, error)
	Runs(ctx context.Context, q control.RunQuery) (control.RunPage, error)
	Run(ctx context.Context, id job.RunID) (job.Run, error)
	Nodes(ctx context.Context) ([]control.NodeView, error)
	Minions(ctx context.Context) ([]control.MinionView, error)
	Shards(ctx context.Context) ([]control.ShardView, error)
	Version() control.VersionView
}

// Deps is what the pages stand on. Control must be set; Logger may be nil.
type Deps struct {
	Control Control
	Logger  *zap.Logger
}

// UI serves the pages. It is safe for concurrent use.
type UI struct {
	control Control
	log     *zap.Logger
	now     func() time.Time
	pages   map[string]*template.Template
	assets  map[string]asset
}

// answerTimeout bounds how long a page waits for the cluster.
const answerTimeout = 10 * time.Second

// policy is the Content-Security-Policy of all that is served here.
const policy = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

// New returns the pages.
func New(deps Deps) (*UI, error) {
	if deps.Control == nil {
		return nil, errors.New("webui: Deps.Control is not set")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	u := &UI{control: deps.Control, log: deps.Logger.Named("webui"), now: time.Now}
	var err error
	if u.pages, err = u.parsePages(); err != nil {
		return nil, err
	}
	if u.assets, err = readAssets(); err != nil {
		return nil, err
	}
	return u, nil
}

// Register adds the pages' routes to mux: /, /jobs/{namespace}/{name}, /runs,
// /runs/{id}, /nodes, /minions, /shards and /static/.
func (u *UI) Register(mux *http.ServeMux) {
	mux.Handle("GET /{$}", u.page("jobs", u.jobs))
	mux.Handle("GET /jobs/{namespace}/{name}", u.page("job", u.job))
	mux.Handle("GET /runs", u.page("runs", u.runs))
	mux.Handle("GET /runs/{id}", u.page("run", u.run))
	mux.Handle("GET /nodes", u.page("nodes", u.nodes))
	mux.Handle("GET /minions", u.page("minions", u.minions))
	mux.Handle("GET /shards", u.page("shards", u.shards))
	mux.HandleFunc("GET /static/", u.static)
}

// view is what a template gets.
type view struct {
	// Title is the page's name, Nav the entry of the menu that it belongs to.
	Title, Nav string
	// Topics are the changes after which the content is fetched anew, parted by spaces.
	Topics  string
	Version control.VersionView
	// Body is the page's own.
	Body any
}

// page serves what load finds through the template of the name.
func (u *UI) page(name string, load func(ctx context.Context, r *http.Request) (view, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeoutCause(r.Context(), answerTimeout, job.ErrUnavailable)
		defer cancel()
		v, err := load(ctx, r)
		if err != nil {
			u.fail(w, r, err)
			return
		}
		u.render(w, r, name, http.StatusOK, v)
	})
}

// failure is the body of an error's page.
type failure struct {
	Status   int
	Text     string
	Detail   string
	Problems []job.Problem
}

func (u *UI) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failure{Status: http.StatusInternalServerError, Detail: "The node's log has the details."}
	var invalid *job.InvalidError
	switch {
	case errors.As(err, &invalid):
		f = failure{Status: http.StatusBadRequest, Problems: invalid.Problems}
	case errors.Is(err, job.ErrNotFound):
		f = failure{Status: http.StatusNotFound, Detail: err.Error()}
	case errors.Is(err, job.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f = failure{Status: http.StatusServiceUnavailable, Detail: err.Error()}
	default:
		u.log.Error("page cannot be shown", zap.String("path", r.URL.Path), zap.Error(err))
	}
	f.Text = http.StatusText(f.Status)
	u.render(w, r, "error", f.Status, view{Title: f.Text, Body: f})
}

// render makes the page whole before it writes: a half page is never sent.
func (u *UI) render(w http.ResponseWriter, r *http.Request, name string, status int, v view) {
	v.Version = u.control.Version()
	var b bytes.Buffer
	if err := u.pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		u.log.Error("page cannot be rendered", zap.String("path", r.URL.Path), zap.Error(err))
		guard(w.Header())
		http.Error(w, "The page cannot be rendered; the node's log has the details.", http.StatusInternalServerError)
		return
	}
	guard(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(b.Bytes()); err != nil {
		u.log.Debug("page not sent", zap.String("path", r.URL.Path), zap.Error(err))
	}
}

// guard sets the headers that keep a browser from doing more than it should.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

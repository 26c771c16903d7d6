package webui

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/httpstatus"
	"github.com/carillon-cron/carillon/internal/pagecookie"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed static
var static embed.FS

// Control is what the page needs of a cluster's control.
type Control interface {
	JobPage(ctx context.Context, q api.JobQuery) (api.JobPage, error)
	Job(ctx context.Context, key job.Key) (api.Job, error)
	Runs(ctx context.Context, q api.RunQuery) (api.RunPage, error)
	Run(ctx context.Context, id job.RunID) (job.Run, error)
	Nodes(ctx context.Context) ([]api.Node, error)
	Minions(ctx context.Context) ([]api.Minion, error)
	Minion(ctx context.Context, id job.MinionID) (api.MinionDetail, error)
	Sites(ctx context.Context) ([]api.Site, error)
	Shards(ctx context.Context) ([]api.Shard, error)
	Groups(ctx context.Context, namespace string) ([]api.Group, error)
	Queues(ctx context.Context, namespace string) ([]api.Queue, error)
	Queue(ctx context.Context, key job.Key) (api.Queue, error)
	Plans(ctx context.Context, namespace string) ([]api.Plan, error)
	Plan(ctx context.Context, namespace, upstream, id string) (api.Plan, error)
	PlanTasks(ctx context.Context, namespace, upstream, id string, q api.PlanTaskQuery) (api.PlanTaskPage, error)
	Upcoming(ctx context.Context, key job.Key, after time.Time, n int) (api.Upcoming, error)
	Versions(ctx context.Context, key job.Key) ([]job.Former, error)
	Pauses(ctx context.Context) ([]api.Pause, error)
	Calendars(ctx context.Context, namespace string) ([]job.Calendar, error)
	Notifiers(ctx context.Context, namespace string) ([]api.Notifier, error)
	Notifier(ctx context.Context, key job.Key) (api.NotifierDetail, error)
	Scripts(ctx context.Context, namespace string) ([]job.SavedScript, error)
	Secrets(ctx context.Context, namespace string) ([]job.Secret, error)
	Audit(ctx context.Context, q api.AuditQuery) (api.AuditPage, error)
	Doctor(ctx context.Context) ([]api.Check, error)
	Fire(ctx context.Context, key job.Key, at time.Time) (api.Fire, error)
	Locks(ctx context.Context, namespace string) ([]api.Lock, error)
	MatchMinions(ctx context.Context, expr string) (api.Match, error)
	Version() api.Version
	Acting
}

// Acting is what the page has control do. Control decides about each: the page leaves out
// what the reader may not do anywhere.
type Acting interface {
	Start(ctx context.Context, key job.Key, req api.StartRequest) (job.FireID, error)
	Apply(ctx context.Context, file string, data []byte, dryRun bool) ([]api.ApplyResult, error)
	Delete(ctx context.Context, key job.Key) (time.Time, error)
	Exec(ctx context.Context, file string, data []byte, req api.StartRequest) (api.Exec, error)
	RollBack(ctx context.Context, key job.Key, generation int64, o api.Order) (api.ApplyResult, error)
	SetEnabled(ctx context.Context, key job.Key, on bool, o api.Order) (api.ApplyResult, error)
	Pause(ctx context.Context, p api.Paused, until time.Time, o api.Order) (time.Time, error)
	Resume(ctx context.Context, p api.Paused, o api.Order) (time.Time, error)
	Cancel(ctx context.Context, id job.RunID, o api.Order) error
	Redo(ctx context.Context, id job.RunID, only []api.RedoPart, o api.Order) (api.Redo, error)
	TestNotifier(ctx context.Context, key job.Key, o api.Order) error
	SendAgain(ctx context.Context, key job.Key, alert string, o api.Order) error
}

// Deps is what the page stands on. All but Base and May must be set.
type Deps struct {
	Control  Control
	Sessions Sessions
	Logger   *zap.Logger
	// Base is where browsers reach the page, as the identity provider knows it. Empty: it
	// is not known.
	Base string
	// May tells whether the caller of a context may do something to a thing of a kind,
	// in some namespace. Nil: everybody may.
	May func(ctx context.Context, v rights.Verb, k rights.Kind) bool
	// Allows tells whether the caller of a context may do something to one thing. Nil: who
	// may do it somewhere may.
	Allows func(ctx context.Context, r rights.Request) bool
	// Past says why nothing is planned from what etcd holds; empty: it is. Nil: etcd is
	// believed.
	Past func() string
}

// UI serves the page.
type UI struct {
	control  Control
	sessions Sessions
	may      func(ctx context.Context, v rights.Verb, k rights.Kind) bool
	allows   func(ctx context.Context, r rights.Request) bool
	past     func() string
	log      *zap.Logger
	pages    map[string]*template.Template
	// provider is the host of the identity provider; empty: there is none. base is nil
	// where it is not known.
	provider string
	base     *url.URL
}

// New returns the page.
func New(deps Deps) (*UI, error) {
	if deps.Control == nil || deps.Sessions == nil || deps.Logger == nil {
		return nil, errors.New("webui: Control, Sessions and Logger must be set")
	}
	if deps.May == nil {
		deps.May = func(context.Context, rights.Verb, rights.Kind) bool { return true }
	}
	if deps.Allows == nil {
		deps.Allows = func(ctx context.Context, r rights.Request) bool { return deps.May(ctx, r.Verb, r.Kind) }
	}
	u := &UI{control: deps.Control, sessions: deps.Sessions, may: deps.May, allows: deps.Allows, past: deps.Past, log: deps.Logger.Named("webui"), pages: map[string]*template.Template{}}
	if issuer, err := url.Parse(deps.Sessions.LoginWays().Issuer); err == nil {
		u.provider = issuer.Host
	}
	if deps.Base != "" {
		base, err := url.Parse(deps.Base)
		if err != nil {
			return nil, fmt.Errorf("webui: where the page is: %w", err)
		}
		u.base = base
	}
	for _, name := range []string{"overview", "table", "audit", "jobs", "done", "job", "runs", "run", "nodes", "minions", "minion", "shards", "groups", "queues", "queue", "edit", "exec", "instant", "login", "error"} {
		t, err := template.New("layout.html").Funcs(functions()).ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("webui: %w", err)
		}
		u.pages[name] = t
	}
	return u, nil
}

// Register adds the page's routes to mux.
func (u *UI) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", u.overview)
	mux.HandleFunc("GET "+jobsPath, u.jobs)
	mux.HandleFunc("POST "+jobsDo, u.doJobs)
	mux.HandleFunc("GET /jobs/{namespace}/{name}", u.job)
	mux.HandleFunc("POST /jobs/{namespace}/{name}/{do}", u.doJob)
	mux.HandleFunc("POST /runs/{id}/{do}", u.doRun)
	mux.HandleFunc("GET "+editPath, u.edit)
	mux.HandleFunc("POST "+editPath, u.save)
	mux.HandleFunc("GET "+execPath, u.execForm)
	mux.HandleFunc("POST "+execPath, u.exec)
	mux.HandleFunc("GET "+instantPath, u.instant)
	mux.HandleFunc("GET /locks", u.locks)
	mux.HandleFunc("GET /pauses", u.pauses)
	mux.HandleFunc("GET /calendars", u.calendars)
	mux.HandleFunc("GET "+notifiersPath, u.notifiers)
	mux.HandleFunc("GET /notifiers/{namespace}/{name}", u.notifier)
	mux.HandleFunc("POST /notifiers/{namespace}/{name}/test", u.testNotifier)
	mux.HandleFunc("POST /notifiers/{namespace}/{name}/alerts/{id}/send", u.sendAgain)
	mux.HandleFunc("GET /scripts", u.scripts)
	mux.HandleFunc("GET /secrets", u.secrets)
	mux.HandleFunc("GET /doctor", u.doctor)
	mux.HandleFunc("GET /audit", u.audit)
	mux.HandleFunc("GET /runs", u.runs)
	mux.HandleFunc("GET /runs/{id}", u.run)
	mux.HandleFunc("GET /nodes", u.nodes)
	mux.HandleFunc("GET /minions", u.minions)
	mux.HandleFunc("GET /minions/{id}", u.minion)
	mux.HandleFunc("GET /sites", u.sites)
	mux.HandleFunc("GET "+plansPath, u.plans)
	mux.HandleFunc("GET /plans/{namespace}/{upstream}/{id}", u.plan)
	mux.HandleFunc("GET /shards", u.shards)
	mux.HandleFunc("GET /groups", u.groups)
	mux.HandleFunc("GET /queues", u.queues)
	mux.HandleFunc("GET /queues/{namespace}/{name}", u.queue)
	mux.HandleFunc("GET "+pagecookie.LoginPath, u.login)
	mux.HandleFunc("POST "+pagecookie.LoginPath, u.enter)
	mux.HandleFunc("POST "+pagecookie.LogoutPath, u.leave)
	if u.provider != "" {
		mux.HandleFunc("GET "+pagecookie.ProviderPath, u.toProvider)
		mux.HandleFunc("GET "+pagecookie.CallbackPath, u.fromProvider)
		mux.HandleFunc("POST "+pagecookie.BackChannelPath, u.backChannel)
	}
	files := http.FileServerFS(static)
	mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no listings
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		files.ServeHTTP(w, r)
	})
}

// page is what every template gets.
type page struct {
	Title string
	// Nav is the part of the page that is lit in the navigation.
	Nav string
	// Sees are the kinds of things that the caller may read somewhere: links to others
	// are left out.
	Sees map[string]bool
	// Audit: the caller may read the audit; Exec: run commands once.
	Audit, Exec bool
	// Folded: Nav is one of the parts that are folded under the others.
	Folded bool
	// Topics are the changes after which the content is fetched again.
	Topics string
	// About is the one thing that the page shows, as changes name it; empty: several.
	About string
	// List: the page has a list that is fetched again alone.
	List    bool
	Version api.Version
	// Past is why nothing fires, to readers who may see the cluster.
	Past string
	// Who is the reader, where that is known; Session: who has logged in.
	Who     string
	Session bool
	Data    any
}

// show renders a page, or the error that kept its data from being read.
func (u *UI) show(w http.ResponseWriter, r *http.Request, name string, p page, err error) {
	status := http.StatusOK
	if errors.Is(err, context.Canceled) {
		return // the reader has gone
	}
	if errors.As(err, new(*caller.RefusedError)) && r.Method == http.MethodGet {
		http.Redirect(w, r, pagecookie.LoginPath+"?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		return
	}
	if err != nil {
		name, status = "error", httpstatus.Of(err)
		p.Title, p.Topics, p.List = http.StatusText(status), "", false
		p.Data = trouble{What: err.Error(), Status: status, Path: r.URL.Path}
		if status == http.StatusInternalServerError {
			u.log.Error("page not shown", zap.String("path", r.URL.Path), zap.Error(err))
		}
	}
	u.render(w, r, status, name, p)
}

// render writes a page.
func (u *UI) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	p.Sees = map[string]bool{}
	for _, k := range rights.Kinds() {
		if u.may(r.Context(), rights.Read, k) {
			p.Sees[string(k)] = true
		}
	}
	if len(p.Sees) > 0 {
		p.Version = u.control.Version()
	}
	if u.past != nil && p.Sees[string(rights.Cluster)] {
		p.Past = u.past()
	}
	p.Folded = slices.Contains([]string{"groups", "instant", "locks", "pauses", "calendars", "notifiers", "scripts", "secrets", "shards"}, p.Nav)
	p.Audit = u.allows(r.Context(), rights.Request{Verb: rights.Audit, Kind: rights.Cluster})
	p.Exec = u.may(r.Context(), rights.Exec, rights.Jobs)
	who, _ := caller.From(r.Context())
	p.Who, p.Session = who.Name, pagecookie.Of(r) != ""
	var out bytes.Buffer
	part := "layout.html"
	if p.List && r.Header.Get("HX-Target") == "list" {
		part = "list"
	}
	if err := u.pages[name].ExecuteTemplate(&out, part, p); err != nil {
		u.log.Error("template failed", zap.String("page", name), zap.Error(err))
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	if status == http.StatusUnprocessableEntity && r.Header.Get("HX-Request") != "" {
		status = http.StatusOK // what is half typed is no error of a page that tells of it
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // a reader that has gone needs no answer
}

// trouble is what keeps a page from being shown.
type trouble struct {
	What   string
	Status int
	Path   string
}

// Help says what can be done about it.
func (t trouble) Help() string {
	switch t.Status {
	case http.StatusNotFound:
		return "It may have been deleted, have another name or namespace, or be nothing that you may see. The list shows what there is; the audit tells who deleted what."
	case http.StatusForbidden:
		return "Your roles do not allow this. `carillon auth can-i` tells what you may do; whoever edits role bindings can allow more."
	case http.StatusConflict, http.StatusPreconditionFailed:
		return "Somebody else has changed it since the page was shown. Go back, look at it as it is now, and try again."
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return "Nothing was changed. Go back, mend what is named above, and try again."
	case http.StatusTooManyRequests:
		return "Too much is asked at once. Wait for some seconds, and load the page again."
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "The node cannot answer just now: etcd, or another node that has to be asked, does not answer. Load the page again; `carillon doctor` looks for the cause."
	}
	return "The log of the node has more. Load the page again; `carillon doctor` looks for the cause."
}

// runsData is the run list with its filters.
type runsData struct {
	Query  api.RunQuery
	Runs   []job.Run
	States []job.State
	// Gap tells what is missing from the runs; empty: nothing.
	Gap string
	// Older is the link to the next page, empty on the last one.
	Older string
	// Problems say why the words cannot be read; Help are the words that there are.
	Problems []job.Problem
	Help     []query.Words
}

func (u *UI) runs(w http.ResponseWriter, r *http.Request) {
	q := api.RunQuery{
		Namespace: r.FormValue("namespace"), Job: r.FormValue("job"),
		State: job.State(r.FormValue("state")), Words: strings.TrimSpace(r.FormValue("q")), Cursor: r.FormValue("cursor"),
	}
	found, err := u.control.Runs(r.Context(), q)
	d := runsData{Query: q, Runs: found.Runs, Gap: found.Gap(), States: job.States()}
	p := page{Title: "Runs", Nav: "runs", Topics: "runs", List: true}
	var invalid *job.InvalidError
	if errors.As(err, &invalid) && q.Words != "" {
		d.Problems, d.Help = invalid.Problems, query.RunWords()
		p.Data, p.Topics = d, ""
		u.render(w, r, http.StatusUnprocessableEntity, "runs", p)
		return
	}
	if found.NextCursor != "" {
		v := url.Values{"cursor": {found.NextCursor}}
		for name, value := range map[string]string{"namespace": q.Namespace, "job": q.Job, "state": string(q.State), "q": q.Words} {
			if value != "" {
				v.Set(name, value)
			}
		}
		d.Older = "/runs?" + v.Encode()
	}
	if q.Cursor != "" {
		p.Topics = "" // an older page stays as it is
	}
	p.Data = d
	u.show(w, r, "runs", p, err)
}

func (u *UI) nodes(w http.ResponseWriter, r *http.Request) {
	v, err := u.control.Nodes(r.Context())
	u.show(w, r, "nodes", page{Title: "Nodes", Nav: "nodes", Topics: "nodes shards minions", Data: v}, err)
}

func (u *UI) minions(w http.ResponseWriter, r *http.Request) {
	v, err := u.control.Minions(r.Context())
	u.show(w, r, "minions", page{Title: "Minions", Nav: "minions", Topics: "minions", Data: v}, err)
}

func (u *UI) shards(w http.ResponseWriter, r *http.Request) {
	v, err := u.control.Shards(r.Context())
	u.show(w, r, "shards", page{Title: "Shards", Nav: "shards", Topics: "shards nodes", Data: v}, err)
}

func (u *UI) groups(w http.ResponseWriter, r *http.Request) {
	v, err := u.control.Groups(r.Context(), r.FormValue("namespace"))
	u.show(w, r, "groups", page{Title: "Groups", Nav: "groups", Topics: "groups jobs", Data: v}, err)
}

func (u *UI) queues(w http.ResponseWriter, r *http.Request) {
	v, err := u.control.Queues(r.Context(), r.FormValue("namespace"))
	u.show(w, r, "queues", page{Title: "Queues", Nav: "queues", Topics: "queues", Data: v}, err)
}

func (u *UI) queue(w http.ResponseWriter, r *http.Request) {
	key := job.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	v, err := u.control.Queue(r.Context(), key)
	u.show(w, r, "queue", page{Title: "Queue " + key.String(), Nav: "queues", Topics: "queues", Data: v}, err)
}

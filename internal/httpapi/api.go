package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/httpguard"
	"github.com/carillon-cron/carillon/job"
)

// Control is what the API needs of a cluster's control: one role per use case.
type Control interface {
	Applying
	Jobs
	Starting
	Runs
	Pauses
	Definitions
	Notifiers
	Cluster
	EtcdMembers
	Standing
	Minions
	Enrollment
	Callers
	Granting
	Auditing
	Updates
	Locks
	Queues
	Plans
	Observing
}

// Config holds the API's settings; zero values mean the defaults.
type Config struct {
	// Hosts are the names and addresses by which clients may ask, besides loopback
	// and the address that a request comes to; see httpguard.
	Hosts []string
	// MaxApplyBytes bounds a manifest. Zero: DefaultMaxApplyBytes.
	MaxApplyBytes int64
	// Heartbeat is how often a stream of events says that it is alive.
	// Zero: DefaultHeartbeat.
	Heartbeat time.Duration
	// WriteTimeout ends a stream whose client does not read. Zero:
	// DefaultWriteTimeout.
	WriteTimeout time.Duration
	// OutputTimeout ends a stream of output whose client does not read: people read
	// it page by page. Zero: DefaultOutputTimeout.
	OutputTimeout time.Duration
	// Limits bound what one caller does.
	Limits Limits
}

// Defaults of Config.
const (
	DefaultMaxApplyBytes = 4 << 20
	DefaultHeartbeat     = 15 * time.Second
	DefaultWriteTimeout  = 30 * time.Second
	DefaultOutputTimeout = 10 * time.Minute

	// maxBodyBytes bounds all other bodies.
	maxBodyBytes = 64 << 10
	// bodyReadTimeout bounds the reading of a body.
	bodyReadTimeout = 30 * time.Second
)

// Deps is what the API stands on. Control must be set.
type Deps struct {
	Control Control
	// Peer tells who asks where the connection itself proves it; false: it does not.
	// Nil: none does.
	Peer func(*http.Request) (caller.Caller, bool)
	// Rights tells what callers may do. Control must decide by it, too: see package
	// guarded. Nil: everybody may do everything.
	Rights Deciding
	// Ready returns why the node is not ready; empty: it is. Nil: always ready.
	Ready func() []string
	// Refuses says why definitions are not changed and nothing is started by this cluster;
	// empty: they are. Nil: they are, always.
	Refuses func() string
	// Gatherer is what /metrics shows. Nil: there is no /metrics.
	Gatherer prometheus.Gatherer
	// Registerer takes the API's own metrics. Nil: they are not shown.
	Registerer prometheus.Registerer
	// Logger may be nil.
	Logger *zap.Logger
}

// API is the HTTP API. It is an http.Handler of its own; an application that
// serves other pages beside it uses Register and Middleware instead.
type API struct {
	cfg      Config
	control  Control
	peer     func(*http.Request) (caller.Caller, bool)
	rights   Deciding
	ready    func() []string
	refuses  func() string
	gatherer prometheus.Gatherer
	log      *zap.Logger
	metrics  *metrics
	guard    *httpguard.Guard
	doc      *huma.OpenAPI
	handler  http.Handler
}

// New returns the API.
func New(cfg Config, deps Deps) (*API, error) {
	if deps.Control == nil {
		return nil, errors.New("httpapi: Deps.Control is not set")
	}
	if cfg.MaxApplyBytes == 0 {
		cfg.MaxApplyBytes = DefaultMaxApplyBytes
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = DefaultWriteTimeout
	}
	if cfg.OutputTimeout == 0 {
		cfg.OutputTimeout = DefaultOutputTimeout
	}
	if deps.Peer == nil {
		deps.Peer = func(*http.Request) (caller.Caller, bool) { return caller.Caller{}, false }
	}
	if deps.Rights == nil {
		deps.Rights = everything{}
	}
	if deps.Ready == nil {
		deps.Ready = func() []string { return nil }
	}
	if deps.Refuses == nil {
		deps.Refuses = func() string { return "" }
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	a := &API{
		cfg: cfg, control: deps.Control, peer: deps.Peer, rights: deps.Rights, ready: deps.Ready, refuses: deps.Refuses, gatherer: deps.Gatherer,
		log: deps.Logger.Named("http"), metrics: m,
	}
	a.guard = httpguard.New(httpguard.Config{Names: cfg.Hosts, Flag: "--api-host", Deny: func(w http.ResponseWriter, status int, text string) {
		writeProblem(w, problem(status, text))
	}})
	mux := http.NewServeMux()
	if err := a.Register(mux); err != nil {
		return nil, err
	}
	a.handler = a.Middleware(mux)
	return a, nil
}

// ServeHTTP serves the API alone.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Register adds the API's routes to a mux, each behind what it wants of its callers: /v1/, /livez, /readyz, /metrics and
// /openapi.json. Wrap mux with Middleware.
func (a *API) Register(plain *http.ServeMux) error {
	mux := &routes{ServeMux: plain, rights: a.rights, refuses: a.refuses, rows: routeRights()}
	doc := huma.NewAPI(humaConfig(a.control.Version().Version), humago.NewAdapter(mux, ""))
	a.jobRoutes(doc)
	a.groupRoutes(doc)
	a.hostGroupRoutes(doc)
	a.runRoutes(doc)
	a.clusterRoutes(doc)
	a.operatorRoutes(doc)
	a.etcdRoutes(doc)
	a.standbyRoutes(doc, mux)
	a.fireRoutes(doc)
	a.hookRoutes(doc)
	a.calendarRoutes(doc)
	a.scriptRoutes(doc)
	a.secretRoutes(doc)
	a.notifierRoutes(doc)
	a.defaultsRoutes(doc)
	a.versionRoutes(doc)
	a.pauseRoutes(doc)
	a.lockRoutes(doc)
	a.queueRoutes(doc)
	a.planRoutes(doc, mux)
	a.streamRoutes(doc, mux)
	a.execRoutes(doc, mux)
	a.enrollRoutes(doc)
	a.callerRoutes(doc)
	a.auditRoutes(doc)
	a.updateRoutes(doc)
	a.grantRoutes(doc)
	a.rightsRoutes(doc)

	a.doc = doc.OpenAPI()
	declareErrors(a.doc)
	declareRights(a.doc)
	strict := requestSchemas(doc.OpenAPI())
	for name, schema := range doc.OpenAPI().Components.Schemas.Map() {
		if !strict[name] {
			schema.AdditionalProperties = nil // answers may gain members
		}
	}
	for _, name := range []string{"startedAt", "endedAt"} {
		doc.OpenAPI().Components.Schemas.Map()["Run"].Properties[name].Nullable = true // a run says so until it has; see job.Run
	}
	openAPI, err := json.Marshal(doc.OpenAPI())
	if err != nil {
		return fmt.Errorf("httpapi: describe the api: %w", err)
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(openAPI)
	})
	mux.HandleFunc("GET "+livezPath, a.livez)
	mux.HandleFunc("GET "+readyzPath, a.readyz)
	if a.gatherer != nil {
		mux.HandleFunc("GET /metrics", promhttp.HandlerFor(a.gatherer, promhttp.HandlerOpts{}).ServeHTTP)
	}
	// Per method, so that a page's own "GET /" beside it is no conflict.
	for _, m := range methods() {
		mux.HandleFunc(m+" "+rest, unknown(plain))
	}
	return mux.check()
}

// schemaPrefix begins references to schemas.
const schemaPrefix = "#/components/schemas/"

// humaConfig is huma without the pages that it would add.
func humaConfig(version string) huma.Config {
	registry := huma.NewMapRegistry(schemaPrefix, schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[Problem]())
	// These read and write as text; huma would go by their kind.
	registry.RegisterTypeAlias(reflect.TypeFor[job.Duration](), reflect.TypeFor[string]())
	registry.RegisterTypeAlias(reflect.TypeFor[job.CommandRule](), reflect.TypeFor[map[string]any]())
	registry.RegisterTypeAlias(reflect.TypeFor[job.UID](), reflect.TypeFor[string]())
	registry.RegisterTypeAlias(reflect.TypeFor[job.FireID](), reflect.TypeFor[string]())
	registry.RegisterTypeAlias(reflect.TypeFor[job.EnvValue](), reflect.TypeFor[envValue]())
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: "Carillon", Version: version, Description: "Jobs, runs and nodes of a Carillon cluster."},
			Components: &huma.Components{Schemas: registry},
		},
		Formats:       huma.DefaultFormats,
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{toProblem},
	}
}

// requestSchemas returns the names of the schemas of which the bodies of
// requests are made. They are checked member by member, as one that is
// misspelled would count as not given.
func requestSchemas(doc *huma.OpenAPI) map[string]bool {
	names := map[string]bool{}
	var add func(*huma.Schema)
	add = func(s *huma.Schema) {
		if s == nil {
			return
		}
		if s.Ref != "" {
			name := strings.TrimPrefix(s.Ref, schemaPrefix)
			if names[name] {
				return
			}
			names[name] = true
			s = doc.Components.Schemas.SchemaFromRef(s.Ref)
		}
		add(s.Items)
		for _, member := range s.Properties {
			add(member)
		}
	}
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Post, path.Put, path.Patch, path.Delete} {
			if op != nil && op.RequestBody != nil {
				for _, content := range op.RequestBody.Content {
					add(content.Schema)
				}
			}
		}
	}
	return names
}

// declareErrors adds to every operation the errors that come from what stands
// before it, and from how its input is read.
func declareErrors(doc *huma.OpenAPI) {
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op == nil {
				continue
			}
			if op == path.Get {
				op.Responses[strconv.Itoa(http.StatusNotModified)] = &huma.Response{Description: "What If-None-Match names is what there is."}
			}
			errs := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
			if len(op.Parameters) > 0 {
				errs = append(errs, http.StatusUnprocessableEntity)
			}
			if op.RequestBody != nil {
				errs = append(errs, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
					http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
			}
			for _, status := range errs {
				if code := strconv.Itoa(status); op.Responses[code] == nil {
					op.Responses[code] = &huma.Response{
						Description: http.StatusText(status),
						Content:     map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "ProblemDetails"}}},
					}
				}
			}
		}
	}
}

// schemaName tells the two types apart that are called Problem.
func schemaName(t reflect.Type, hint string) string {
	if t == reflect.TypeFor[Problem]() {
		return "ProblemDetails"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// operation describes a route.
func operation(method, path, id, summary string, errs ...int) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		MaxBodyBytes: maxBodyBytes, BodyReadTimeout: bodyReadTimeout,
		Errors: append(errs, http.StatusServiceUnavailable),
	}
}

// answer turns what control returned into what huma writes.
func answer[T any](body T, err error) (*reply[T], error) {
	if err != nil {
		return nil, problemOf(err)
	}
	return &reply[T]{Body: body}, nil
}

// reply is an answer that is nothing but a JSON body.
type reply[T any] struct{ Body T }

// rest answers every unknown path below /v1.
const rest = "/v1/"

func methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}

// unknown answers requests that no route takes: with the methods that the path
// has, or that there is no such path.
func unknown(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found := false
		for _, m := range methods() {
			probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(probe); !strings.HasSuffix(pattern, " "+rest) {
				w.Header().Add("Allow", m)
				found = true
			}
		}
		if found {
			writeProblem(w, problem(http.StatusMethodNotAllowed, fmt.Sprintf("%s cannot be used on %s", r.Method, r.URL.Path)))
			return
		}
		writeProblem(w, problem(http.StatusNotFound, fmt.Sprintf("there is no %s; see /openapi.json", r.URL.Path)))
	}
}

package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// Deciding tells what the caller of a context may do.
type Deciding interface {
	// Admit returns nil if the caller may ask at all; else why not.
	Admit(ctx context.Context) error
	// Need returns nil if the caller may do something; else what is missing.
	Need(ctx context.Context, r rights.Request) error
	// CanI tells whether the caller may do something.
	CanI(ctx context.Context, r rights.Request) (api.CanI, error)
}

// everything lets everybody do everything.
type everything struct{}

func (everything) Admit(context.Context) error                { return nil }
func (everything) Need(context.Context, rights.Request) error { return nil }
func (everything) CanI(context.Context, rights.Request) (api.CanI, error) {
	return api.CanI{Allowed: true, State: "open"}, nil
}

// Place is where the namespace and the labels of what a request is about are found.
type Place string

// The places. Decisions about all but AtRoute are made by the control that the API asks
// (see package guarded): it is the one who finds them.
const (
	// AtPath: the path names the thing, and its labels are those that it has now.
	AtPath Place = "path"
	// AtNamespace: the path names the namespace, and there are no labels. What is in it is not
	// looked for before the decision.
	AtNamespace Place = "namespace"
	// AtRun: the path names a run; what counts is its job.
	AtRun Place = "run"
	// AtList: each thing of the answer is looked at, and left out.
	AtList Place = "list"
	// AtBody: the body names the things.
	AtBody Place = "body"
	// AtCluster: there is no namespace, and there are no labels.
	AtCluster Place = "cluster"
	// AtSession: a session to hold locks by, in whatever namespace.
	AtSession Place = "session"
	// AtRoute: as AtCluster, decided before the route, which asks no control.
	AtRoute Place = "route"
	// AtCaller: every caller who is known may; no right is wanted.
	AtCaller Place = "caller"
	// AtNobody: everybody may, known or not.
	AtNobody Place = "nobody"
)

// Right is what a route wants: a verb on a kind of thing.
type Right struct {
	Verb rights.Verb `json:"verb,omitempty"`
	Kind rights.Kind `json:"resource,omitempty"`
	At   Place       `json:"at"`
}

// String says it in words.
func (r Right) String() string {
	if r.Verb == "" {
		return string(r.At)
	}
	return fmt.Sprintf("%s %s (%s)", r.Verb, r.Kind, r.At)
}

// routeRights has a row for each route. One without a row is not served: New fails.
func routeRights() map[string]Right {
	const job, run = "/v1/namespaces/{ns}/jobs/{name}", "/v1/runs/{runId}"
	const queue, item = "/v1/namespaces/{ns}/queues/{name}", "/v1/namespaces/{ns}/queues/{name}/items/{id}"
	const plan = plansPath + "/{upstream}/{id}"
	const lock, minion, shard, node, update = "/v1/namespaces/{ns}/locks/{name}", "/v1/minions/{id}", "/v1/shards/{ref}", "/v1/nodes/{name}", "/v1/minion-update"
	const member, site = "/v1/etcd/members/{name}", "/v1/sites/{name}"
	rows := map[string]Right{
		"POST /v1/apply": {rights.Edit, rights.Jobs, AtBody},

		"GET /v1/jobs":                                   {rights.Read, rights.Jobs, AtList},
		"GET " + job:                                     {rights.Read, rights.Jobs, AtPath},
		"DELETE " + job:                                  {rights.Delete, rights.Jobs, AtPath},
		"POST " + job + "/enable":                        {rights.Edit, rights.Jobs, AtPath},
		"POST " + job + "/webhook-secret":                {rights.Edit, rights.Jobs, AtPath},
		"POST " + job + "/disable":                       {rights.Edit, rights.Jobs, AtPath},
		"POST " + job + "/run":                           {rights.Run, rights.Jobs, AtPath},
		"GET " + job + "/versions":                       {rights.Read, rights.Jobs, AtPath},
		"POST " + job + "/versions/{generation}/restore": {rights.Edit, rights.Jobs, AtPath},

		"GET " + job + "/fires/{at}":    {rights.Read, rights.Jobs, AtPath},
		"GET " + job + "/next":          {rights.Read, rights.Jobs, AtPath},
		"POST " + job + "/backfill":     {rights.Run, rights.Jobs, AtPath},
		"GET /v1/backfills":             {rights.Read, rights.Jobs, AtList},
		"POST /v1/backfills/{id}/end":   {rights.Run, rights.Jobs, AtBody},
		"POST /v1/hooks/{ns}/{name}":    {At: AtNobody}, // its own token is the right
		"POST /v1/pause":                {rights.Pause, rights.Jobs, AtBody},
		"POST /v1/resume":               {rights.Pause, rights.Jobs, AtBody},
		"GET /v1/pauses":                {rights.Read, rights.Jobs, AtList},
		"POST /v1/exec":                 {rights.Exec, rights.Minions, AtCluster}, // and on jobs, in the namespace of the body's
		"GET /v1/runs":                  {rights.Read, rights.Runs, AtList},
		"GET " + run:                    {rights.Read, rights.Runs, AtRun},
		"GET " + run + "/results":       {rights.Read, rights.Runs, AtRun},
		"GET " + run + "/output":        {rights.Logs, rights.Runs, AtRun},
		"POST " + run + "/cancel":       {rights.Run, rights.Runs, AtRun},
		"POST " + run + "/promote":      {rights.Run, rights.Runs, AtRun},
		"POST " + run + "/redo":         {rights.Run, rights.Runs, AtRun},
		"GET /v1/groups":                {rights.Read, rights.Groups, AtList},
		"GET " + ofKind("groups"):       {rights.Read, rights.Groups, AtPath},
		"DELETE " + ofKind("groups"):    {rights.Delete, rights.Groups, AtPath},
		"GET /v1/calendars":             {rights.Read, rights.Calendars, AtList},
		"DELETE " + ofKind("calendars"): {rights.Delete, rights.Calendars, AtPath},
		"GET /v1/scripts":               {rights.Read, rights.Scripts, AtList},
		"GET " + ofKind("scripts"):      {rights.Read, rights.Scripts, AtPath},
		"DELETE " + ofKind("scripts"):   {rights.Delete, rights.Scripts, AtPath},
		"GET /v1/secrets":               {rights.Read, rights.Secrets, AtList},
		"GET " + ofKind("secrets"):      {rights.Read, rights.Secrets, AtPath},
		"DELETE " + ofKind("secrets"):   {rights.Delete, rights.Secrets, AtPath},

		"GET /v1/defaults":                                  {rights.Read, rights.Defaults, AtList},
		"DELETE " + ofKind("defaults"):                      {rights.Delete, rights.Defaults, AtPath},
		"GET /v1/notifiers":                                 {rights.Read, rights.Notifiers, AtList},
		"GET " + ofKind("notifiers"):                        {rights.Read, rights.Notifiers, AtPath},
		"DELETE " + ofKind("notifiers"):                     {rights.Delete, rights.Notifiers, AtPath},
		"POST " + ofKind("notifiers") + "/test":             {rights.Edit, rights.Notifiers, AtPath},
		"POST " + ofKind("notifiers") + "/alerts/{id}/send": {rights.Edit, rights.Notifiers, AtPath},

		"GET /v1/locks":                {rights.Read, rights.Locks, AtList},
		"GET " + lock:                  {rights.Read, rights.Locks, AtPath},
		"POST " + lock + "/acquire":    {rights.Edit, rights.Locks, AtPath},
		"POST " + lock + "/release":    {rights.Edit, rights.Locks, AtPath},
		"POST " + lock + "/break":      {rights.Operate, rights.Locks, AtPath},
		"POST /v1/lock-sessions":       {rights.Edit, rights.Locks, AtSession},
		"POST /v1/lock-sessions/renew": {rights.Edit, rights.Locks, AtSession},
		"POST /v1/lock-sessions/close": {rights.Edit, rights.Locks, AtSession},

		"GET /v1/queues":             {rights.Read, rights.Queues, AtList},
		"GET " + queue:               {rights.Read, rights.Queues, AtPath},
		"DELETE " + queue:            {rights.Delete, rights.Queues, AtPath},
		"POST " + queue + "/hold":    {rights.Pause, rights.Queues, AtPath},
		"POST " + queue + "/items":   {rights.Run, rights.Queues, AtPath},
		"GET " + queue + "/items":    {rights.Read, rights.Queues, AtPath},
		"POST " + queue + "/redrive": {rights.Run, rights.Queues, AtPath},
		"POST " + queue + "/purge":   {rights.Delete, rights.Queues, AtPath},
		"GET " + item:                {rights.Read, rights.Queues, AtPath}, // the payload: logs
		"POST " + item + "/cancel":   {rights.Run, rights.Queues, AtPath},
		"POST " + item + "/redrive":  {rights.Run, rights.Queues, AtPath},

		"GET /v1/plans":            {rights.Read, rights.Queues, AtList},
		"POST " + plansPath:        {rights.Run, rights.Queues, AtNamespace}, // and on each queue that it names
		"GET " + plan:              {rights.Read, rights.Queues, AtNamespace},
		"GET " + plan + "/tasks":   {rights.Read, rights.Queues, AtNamespace},
		"POST " + plan + "/cancel": {rights.Run, rights.Queues, AtNamespace},
		"POST " + planReportPath:   {rights.Read, rights.Queues, AtNamespace},
		"POST " + planSecretPath:   {rights.Edit, rights.Queues, AtNamespace},
		"GET " + planSchemaPath:    {At: AtCaller},

		"GET /v1/host-groups":           {rights.Read, rights.HostGroups, AtList},
		"DELETE /v1/host-groups/{name}": {rights.Delete, rights.HostGroups, AtPath},
		"GET /v1/minions":               {rights.Read, rights.Minions, AtList},
		"GET /v1/minions/match":         {rights.Read, rights.Minions, AtCluster},
		"GET " + minion:                 {rights.Read, rights.Minions, AtPath},
		"GET /v1/dispatch":              {rights.Read, rights.Minions, AtCluster},
		"GET /v1/minion-requests":       {rights.Read, rights.Minions, AtCluster},
		"GET /v1/minion-certificates":   {rights.Read, rights.Minions, AtCluster},
		"GET /v1/minion-tokens":         {rights.Enroll, rights.Minions, AtCluster},
		"POST /v1/minion-tokens":        {rights.Enroll, rights.Minions, AtCluster},
		"DELETE /v1/minion-tokens/{id}": {rights.Enroll, rights.Minions, AtCluster},
		"POST " + minion + "/approve":   {rights.Enroll, rights.Minions, AtCluster},
		"POST " + minion + "/reject":    {rights.Enroll, rights.Minions, AtCluster},
		"POST " + minion + "/revoke":    {rights.Enroll, rights.Minions, AtCluster},
		"POST " + minion + "/labels":    {rights.Enroll, rights.Minions, AtCluster},
		"DELETE " + minion:              {rights.Enroll, rights.Minions, AtCluster},
		"GET " + update:                 {rights.Read, rights.Minions, AtCluster},
		"POST " + update:                {rights.Operate, rights.Minions, AtCluster},
		"POST " + update + "/pause":     {rights.Operate, rights.Minions, AtCluster},
		"POST " + update + "/resume":    {rights.Operate, rights.Minions, AtCluster},
		"POST " + update + "/stop":      {rights.Operate, rights.Minions, AtCluster},

		"GET /v1/nodes":             {rights.Read, rights.Nodes, AtCluster},
		"POST " + node + "/drain":   {rights.Operate, rights.Nodes, AtCluster},
		"POST " + node + "/undrain": {rights.Operate, rights.Nodes, AtCluster},
		"POST " + node + "/forget":  {rights.Operate, rights.Nodes, AtCluster},
		"GET /v1/sites":             {rights.Read, rights.Nodes, AtCluster},
		"POST " + site + "/drain":   {rights.Operate, rights.Nodes, AtCluster},
		"POST " + site + "/undrain": {rights.Operate, rights.Nodes, AtCluster},
		"POST /v1/node-tokens":      {rights.Grant, rights.Nodes, AtCluster}, // a node has all that the cluster has

		"GET /v1/etcd/members":            {rights.Read, rights.Nodes, AtCluster},
		"POST " + member + "/add":         {rights.Operate, rights.Nodes, AtCluster},
		"POST " + member + "/remove":      {rights.Operate, rights.Nodes, AtCluster},
		"POST " + member + "/move-leader": {rights.Operate, rights.Nodes, AtCluster},
		"POST " + member + "/defrag":      {rights.Operate, rights.Nodes, AtCluster},

		"GET /v1/shards":              {rights.Read, rights.Shards, AtCluster},
		"POST " + shard + "/hold":     {rights.Operate, rights.Shards, AtCluster},
		"POST " + shard + "/release":  {rights.Operate, rights.Shards, AtCluster},
		"POST " + shard + "/failback": {rights.Operate, rights.Shards, AtCluster},
		"POST " + shard + "/move":     {rights.Operate, rights.Shards, AtCluster},

		"POST /v1/tokens":                 {rights.Grant, rights.Tokens, AtCluster},
		"GET /v1/tokens":                  {rights.Read, rights.Tokens, AtCluster},
		"POST /v1/tokens/{ref}/rotate":    {rights.Grant, rights.Tokens, AtCluster},
		"DELETE /v1/tokens/{ref}":         {rights.Grant, rights.Tokens, AtCluster},
		"GET /v1/auth/state":              {rights.Read, rights.Cluster, AtCluster},
		"PUT /v1/auth/state":              {rights.Grant, rights.Cluster, AtCluster},
		"GET /v1/roles":                   {rights.Read, rights.Roles, AtCluster},
		"DELETE /v1/roles/{name}":         {rights.Grant, rights.Roles, AtCluster},
		"GET /v1/role-bindings":           {rights.Read, rights.Roles, AtCluster},
		"DELETE /v1/role-bindings/{name}": {rights.Grant, rights.Roles, AtCluster},
		"GET /v1/audit":                   {rights.Audit, rights.Cluster, AtCluster},
		"GET /v1/audit/sealed":            {rights.Audit, rights.Cluster, AtCluster},
		"GET /v1/audit/verify":            {rights.Audit, rights.Cluster, AtCluster},
		"POST /v1/recover":                {rights.Grant, rights.Cluster, AtCluster},
		"POST /v1/backup":                 {rights.Grant, rights.Cluster, AtCluster}, // it has everything
		"GET /v1/standby":                 {rights.Read, rights.Cluster, AtCluster},
		"POST /v1/standby":                {rights.Grant, rights.Cluster, AtCluster},
		"POST /v1/standby/stop":           {rights.Grant, rights.Cluster, AtCluster},
		"POST /v1/promote":                {rights.Grant, rights.Cluster, AtCluster},
		"POST /v1/hand-over":              {rights.Grant, rights.Cluster, AtCluster},
		"POST /v1/overtaken":              {rights.Grant, rights.Cluster, AtCluster},
		"POST /v1/mirror":                 {rights.Grant, rights.Cluster, AtCluster}, // it has everything
		"GET /v1/doctor":                  {rights.Read, rights.Cluster, AtCluster},
		"GET /metrics":                    {rights.Read, rights.Cluster, AtRoute},

		"GET /v1/events":          {At: AtCaller}, // which kinds have changed, of those that one may read
		"GET /v1/auth/can-i":      {At: AtCaller},
		"GET /v1/auth/self":       {At: AtCaller},
		"DELETE /v1/auth/session": {At: AtCaller}, // one's own
		"GET /v1/version":         {At: AtCaller},
		"GET /openapi.json":       {At: AtCaller},
		"GET /v1/authority":       {At: AtNobody}, // what the cluster is known by
		"POST /v1/auth/bootstrap": {At: AtNobody}, // its own token is the right

		"GET /v1/auth/login":                {At: AtNobody}, // the identity provider says who it is
		"POST /v1/auth/login":               {At: AtNobody},
		"POST /v1/auth/login/finish":        {At: AtNobody},
		"POST /v1/auth/device-login":        {At: AtNobody},
		"POST /v1/auth/device-login/finish": {At: AtNobody},
		"GET /livez":                        {At: AtNobody},
		"GET /readyz":                       {At: AtNobody},
	}
	for _, m := range methods() {
		rows[m+" "+rest] = Right{At: AtCaller} // what is no route
	}
	return rows
}

// ofKind is the path of a thing in a namespace.
func ofKind(plural string) string { return "/v1/namespaces/{ns}/" + plural + "/{name}" }

// Route is a route of the API with what it wants.
type Route struct {
	Method, Path string
	Right        Right
}

// Routes are all routes with a row, ordered by their paths.
func Routes() []Route {
	var out []Route
	for pattern, right := range routeRights() {
		method, path, _ := strings.Cut(pattern, " ")
		out = append(out, Route{method, path, right})
	}
	slices.SortFunc(out, func(a, b Route) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	return out
}

// routes is a mux whose handlers stand behind the rights of their routes.
type routes struct {
	*http.ServeMux

	rights  Deciding
	refuses func() string
	rows    map[string]Right
	without []string // routes for which there is no row
}

// HandleFunc adds a route.
func (m *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	row, ok := m.rows[pattern]
	if !ok {
		m.without = append(m.without, pattern)
		return
	}
	delete(m.rows, pattern)
	if !strings.HasPrefix(pattern, http.MethodGet+" ") && ofActive(row) {
		handler = m.active(handler)
	}
	m.ServeMux.HandleFunc(pattern, m.behind(row, handler))
}

// ofActive reports whether what a route changes is for the active cluster to change: a
// standby has it from there.
func ofActive(r Right) bool {
	switch r.Kind {
	case rights.Cluster, rights.Nodes, rights.Shards, rights.Tokens, "":
		return false
	default:
		return true
	}
}

// active returns a handler that answers as long as this cluster is not a standby of another
// one.
func (m *routes) active(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if m.refuses != nil {
			if why := m.refuses(); why != "" {
				writeProblem(w, problem(http.StatusConflict, why))
				return
			}
		}
		handler(w, r)
	}
}

// check returns an error if a route has no row, or a row no route.
func (m *routes) check() error {
	if len(m.without) > 0 {
		return fmt.Errorf("httpapi: nothing says who may use %s: each route has a row in routeRights", strings.Join(m.without, ", "))
	}
	delete(m.rows, "GET /metrics") // there may be none
	if len(m.rows) > 0 {
		return fmt.Errorf("httpapi: routeRights has rows without a route: %v", slices.Sorted(maps.Keys(m.rows)))
	}
	return nil
}

// behind returns a handler that answers who may.
func (m *routes) behind(row Right, handler http.HandlerFunc) http.HandlerFunc {
	decide := func(r *http.Request) error { return m.rights.Admit(r.Context()) }
	switch row.At {
	case AtNobody:
		return handler
	case AtRoute:
		decide = func(r *http.Request) error {
			return m.rights.Need(r.Context(), rights.Request{Verb: row.Verb, Kind: row.Kind})
		}
	case AtPath, AtNamespace, AtRun, AtList, AtBody, AtCluster, AtSession, AtCaller:
		// That the caller is known is all that counts here.
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if err := decide(r); err != nil {
			refuse(w, r, err)
			return
		}
		handler(w, r)
	}
}

// declareRights adds to every operation what it wants of its callers.
func declareRights(doc *huma.OpenAPI) {
	rows := routeRights()
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if row, ok := rows[method+" "+path]; ok && op != nil {
				op.Extensions = map[string]any{"x-carillon-right": row}
			}
		}
	}
}

type canIInput struct {
	Verb      string   `query:"verb" required:"true" doc:"What is to be done."`
	Resource  string   `query:"resource" required:"true" doc:"The kind of thing that it is to be done to."`
	Namespace string   `query:"namespace" doc:"The namespace of the thing; not given: in all, or the kind has none."`
	Label     []string `query:"label,explode" doc:"KEY=VALUE of the thing's labels; may be given several times."`
	Command   []string `query:"command,explode" doc:"A word of a command that is to be started by it; may be given several times, in their order. exec is asked for in the namespace, as it makes a job there."`
	RunAs     string   `query:"runAs" doc:"The account as which the command is to run; not given: the minion's own. Only with command."`
	Target    string   `query:"target" doc:"The minions on which it is to run, as a target expression; not given: all. Only with command."`
}

func (a *API) rightsRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/auth/can-i", "can-i", "Whether the caller may do something", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *canIInput) (*reply[api.CanI], error) {
			labels, err := parsePairs("label", in.Label)
			if err != nil {
				return nil, problemOf(err)
			}
			r := rights.Request{Verb: rights.Verb(in.Verb), Kind: rights.Kind(in.Resource), Namespace: in.Namespace, Labels: labels}
			if len(in.Command) > 0 {
				return answer(a.control.CanStart(ctx, api.CanIRequest{
					Verb: in.Verb, Resource: in.Resource, Namespace: in.Namespace, Labels: labels, Command: in.Command, RunAs: in.RunAs, Target: in.Target,
				}))
			}
			if err := r.Check(); err != nil {
				return nil, problemOf(err)
			}
			if in.RunAs != "" || in.Target != "" {
				return nil, problemOf(&job.InvalidError{Problems: []job.Problem{{Path: "command", Message: "is not given, and runAs and target are of a command"}}})
			}
			return answer(a.rights.CanI(ctx, r))
		})
}

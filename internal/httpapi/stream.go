package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// eventsPath is where changes are told.
const eventsPath = "/v1/events"

func (a *API) streamRoutes(doc huma.API, mux *routes) {
	const output = "/v1/runs/{runId}/output"
	mux.HandleFunc("GET "+output, a.output)
	mux.HandleFunc("GET "+eventsPath, a.events)
	mux.HandleFunc("POST "+backupPath, a.backup)

	text := &huma.Schema{Type: huma.TypeString}
	flag := &huma.Schema{Type: huma.TypeBoolean}
	describe(doc, output, &huma.Operation{
		OperationID: "get-output", Summary: "What a run's tasks wrote, as newline-delimited JSON",
		Parameters: []*huma.Param{
			{Name: "runId", In: "path", Required: true, Schema: text},
			{Name: "minion", In: "query", Schema: text, Description: "Only this minion's task."},
			{Name: "follow", In: "query", Schema: flag, Description: "Go on until the run ends."},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "One JSON object per line: minion, stream (1 or 2), data (base64); leftOut: so many bytes of the stream are missing here, which the minion has not kept; error in the last one of a stream that is not complete.",
				Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: text}}},
			"default": {Description: "Error", Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "ProblemDetails"}}}},
		},
	})
	describe(doc, backupPath, &huma.Operation{
		Method: http.MethodPost, OperationID: "take-backup", Summary: "A backup of what etcd holds of the cluster, as the command line verifies and restores it",
		Responses: map[string]*huma.Response{
			"200":     {Description: "The backup. It ends with a checksum; without one it is not whole.", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: text}}},
			"default": {Description: "Error", Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemaPrefix + "ProblemDetails"}}}},
		},
	})
	describe(doc, eventsPath, &huma.Operation{
		OperationID: "watch-events", Summary: "What changes, as server-sent events",
		Parameters: []*huma.Param{
			{Name: "beat", In: "query", Schema: flag, Description: "Tell that the stream is alive by events \"alive\", and not by comments."},
			{Name: "Last-Event-ID", In: "header", Schema: text, Description: "The id of the last event that was got: what has changed since is told first; all topics, where that is not known."},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "Events \"change\" with data {\"topic\": TOPIC, \"names\": [...]}; at most four a second per topic. Names are given where all are known, and the caller may see all.",
				Content: map[string]*huma.MediaType{"text/event-stream": {Schema: text}}},
		},
	})
}

// backupPath is where a backup is taken.
const backupPath = "/v1/backup"

// backup streams a backup of what etcd holds.
func (a *API) backup(w http.ResponseWriter, r *http.Request) {
	s := a.stream(w, "application/octet-stream")
	s.timeout = a.cfg.OutputTimeout
	if err := a.control.Backup(r.Context(), s); err != nil && !s.begun {
		writeProblem(w, err)
	}
	// One that has begun and breaks off lacks its end, by which whoever reads it tells.
}

// describe adds a route that huma does not serve to its document.
func describe(doc huma.API, path string, op *huma.Operation) {
	if op.Path = path; op.Method == "" {
		op.Method = http.MethodGet
	}
	doc.OpenAPI().AddOperation(op)
}

// output streams what a run's tasks wrote.
func (a *API) output(w http.ResponseWriter, r *http.Request) {
	follow := false
	if v := r.URL.Query().Get("follow"); v != "" {
		var err error
		if follow, err = strconv.ParseBool(v); err != nil {
			writeProblem(w, &job.InvalidError{Problems: []job.Problem{{Path: "follow", Message: fmt.Sprintf("%q is neither true nor false", v)}}})
			return
		}
	}
	s := a.stream(w, "application/x-ndjson")
	s.timeout = a.cfg.OutputTimeout
	encoder := json.NewEncoder(s)
	id, minion := job.RunID(r.PathValue("runId")), job.MinionID(r.URL.Query().Get("minion"))
	err := a.control.Output(r.Context(), id, minion, follow, func(l api.OutputLine) error {
		return encoder.Encode(l)
	})
	s.end(r, encoder, err)
}

// events streams changes until the client or the node goes.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	s := a.stream(w, "text/event-stream")
	if _, err := s.Write([]byte(": changes\n\n")); err != nil {
		return
	}
	alive := ": alive\n\n"
	if on, err := strconv.ParseBool(r.URL.Query().Get("beat")); err == nil && on {
		alive = "event: alive\ndata: {}\n\n" // browsers tell nothing of comments
	}
	changes := a.control.Changes(r.Context(), r.Header.Get("Last-Event-ID"))
	beat := time.NewTicker(a.cfg.Heartbeat)
	defer beat.Stop()
	for {
		text := alive
		select {
		case <-r.Context().Done():
			return
		case change, ok := <-changes:
			if !ok {
				return
			}
			data, err := json.Marshal(change)
			if err != nil {
				return
			}
			text = fmt.Sprintf("event: change\nid: %s\ndata: %s\n\n", change.ID, data)
		case <-beat.C:
		}
		if _, err := s.Write([]byte(text)); err != nil {
			return
		}
	}
}

// stream writes an answer piece by piece, each of them out at once.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	kind    string
	begun   bool
}

func (a *API) stream(w http.ResponseWriter, kind string) *stream {
	return &stream{w: w, control: http.NewResponseController(w), timeout: a.cfg.WriteTimeout, kind: kind}
}

func (s *stream) begin() {
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", s.kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy must not hold pieces back
	s.w.WriteHeader(http.StatusOK)
}

// end ends a stream of JSON lines, with the error if there was one.
func (s *stream) end(r *http.Request, lines *json.Encoder, err error) {
	switch {
	case r.Context().Err() != nil: // nobody is there
	case err != nil && !s.begun:
		writeProblem(s.w, err)
	case err != nil:
		_ = lines.Encode(api.StreamError{Error: err.Error()}) // who does not read has gone
	case !s.begun:
		s.begin()
	}
}

// Write sends a piece. It returns an error when the client is gone or does not
// read.
func (s *stream) Write(b []byte) (int, error) {
	if !s.begun {
		s.begin()
	}
	// A writer without deadlines, as in tests, is written to without one. See patient
	// for why it does not outlast the piece.
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout))
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	n, err := s.w.Write(b)
	if err != nil {
		return n, fmt.Errorf("write stream: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return n, fmt.Errorf("flush stream: %w", err)
	}
	return n, nil
}

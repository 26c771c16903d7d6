package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/httpstatus"
	"github.com/carillon-cron/carillon/job"
)

// Problem is the body of every error, after RFC 9457.
type Problem struct {
	// Type is a URI of the kind of problem; "about:blank": the status says it.
	Type string `json:"type"`
	// Title is the status in words.
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what is wrong here.
	Detail string `json:"detail,omitempty"`
	// Errors are all things wrong with the input.
	Errors []job.Problem `json:"errors,omitempty"`

	// header is what else the answer says.
	header http.Header
}

// problemType is the media type of Problem.
const problemType = "application/problem+json"

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

func problem(status int, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// problemOf returns the body that tells an error.
func problemOf(err error) *Problem {
	var (
		invalid *job.InvalidError
		made    *Problem
		busy    *caller.BusyError
	)
	switch {
	case errors.As(err, &made):
		return made
	case errors.As(err, &busy):
		return busyProblem(busy)
	}
	p := problem(httpstatus.Of(err), err.Error())
	switch {
	case errors.As(err, &invalid):
		p.Errors = invalid.Problems
		if n := len(invalid.Problems); n > 1 && err == error(invalid) { //nolint:errorlint // only when nothing is added to it
			p.Detail = fmt.Sprintf("%d problems", n) // Errors tells them
		}
	case errors.Is(err, job.ErrNoMinions):
		p.Detail = job.ErrNoMinions.Error()
	case p.Status == http.StatusForbidden:
		p.Detail = said(err, job.ErrForbidden)
	case p.Status == http.StatusConflict:
		p.Detail = said(err, job.ErrConflict)
	case p.Status == http.StatusServiceUnavailable:
		p.Detail = said(err, job.ErrUnavailable)
	}
	return p
}

// said returns what an error says, without the kind behind it where it tells more than
// what was being done: the status tells the kind.
func said(err, kind error) string {
	if text, ok := strings.CutSuffix(err.Error(), ": "+kind.Error()); ok && strings.ContainsAny(text, ":;,(") {
		return text
	}
	return err.Error()
}

// toProblem is a huma.Transformer: it gives huma's own errors (a parameter that
// cannot be read, a body that is too large) the same form as all others.
func toProblem(_ huma.Context, _ string, body any) (any, error) {
	e, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	p := problem(e.Status, e.Detail)
	for _, d := range e.Errors {
		if d != nil {
			p.Errors = append(p.Errors, job.Problem{Path: field(d.Location), Message: d.Message})
		}
	}
	return p, nil
}

// field returns the name of a parameter or member without the part of the
// request that it stands in.
func field(location string) string {
	if part, name, ok := strings.Cut(location, "."); ok && (part == "query" || part == "path" || part == "body") {
		return name
	}
	return location
}

// writeProblem answers with err.
func writeProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	maps.Copy(w.Header(), p.header)
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	// What cannot be written has nobody left to read it.
	_ = json.NewEncoder(w).Encode(p)
}

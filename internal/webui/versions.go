package webui

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// version is what a job was, and what differs from what it is now.
type version struct {
	job.Former

	Lines []diffLine
}

// diffLine is a line of a unified diff; Mark is +, - or empty.
type diffLine struct{ Mark, Text string }

// versions are what a job was, the newest first.
func (u *UI) versions(ctx context.Context, now *api.Job) ([]version, error) {
	all, err := u.control.Versions(ctx, now.Key())
	if err != nil || len(all) == 0 {
		return nil, err
	}
	text := func(labels, annotations map[string]string, spec job.Spec) ([]byte, error) {
		return manifest.Encode(manifest.Object{
			Kind: job.KindJob, Spec: spec,
			Metadata: job.Metadata{Namespace: now.Namespace, Name: now.Name, Labels: labels, Annotations: annotations},
		})
	}
	is, err := text(now.Labels, now.Annotations, now.Spec)
	if err != nil {
		return nil, err
	}
	out := make([]version, len(all))
	for i := range all {
		was, err := text(all[i].Labels, all[i].Annotations, all[i].Spec)
		if err != nil {
			return nil, err
		}
		out[i] = version{all[i], diffLines(is, was)}
	}
	return out, nil
}

// diffLines tells what going from one text to another changes, without heads.
func diffLines(from, to []byte) []diffLine {
	var out []diffLine
	body := diff.Diff("now", from, "then", to)
	for line := range strings.Lines(string(bytes.TrimSuffix(body, []byte("\n")))) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		case strings.HasPrefix(line, "@@"):
			if len(out) > 0 {
				out = append(out, diffLine{"", "…"})
			}
		case strings.HasPrefix(line, "+"), strings.HasPrefix(line, "-"):
			out = append(out, diffLine{line[:1], line[1:]})
		default:
			out = append(out, diffLine{"", strings.TrimPrefix(line, " ")})
		}
	}
	return out
}

// rollBack makes a job again what it was.
func (u *UI) rollBack(ctx context.Context, key job.Key, r *http.Request) error {
	generation, err := strconv.ParseInt(r.PostFormValue("generation"), 10, 64)
	if err != nil || generation < 1 {
		return &job.InvalidError{Problems: []job.Problem{{Path: "generation", Message: fmt.Sprintf("%q is no generation of a job; want a number from 1", r.PostFormValue("generation"))}}}
	}
	_, err = u.control.RollBack(ctx, key, generation, api.Order{Reason: strings.TrimSpace(r.PostFormValue("reason"))})
	return err
}

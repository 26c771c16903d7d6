package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
)

// exportedSegment is a segment as an exported file has it.
type exportedSegment struct {
	api.AuditSeal
	// lines are its records.
	lines []api.AuditRecord
}

// exportedFile is what a node has exported.
type exportedFile struct {
	path string
	// segments are in the order of the file: a number may be there again, after a
	// backup was restored.
	segments []exportedSegment
}

func readExported(path string) (*exportedFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	defer f.Close()
	out := &exportedFile{path: path}
	if err := out.read(f); err != nil {
		return nil, fmt.Errorf("--file %s: %w", path, err)
	}
	return out, nil
}

func (f *exportedFile) read(r io.Reader) error {
	var lines []api.AuditRecord
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // what is left is no whole line
			break
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		var kind struct {
			Action, SHA256 string
			Segment        int64
		}
		if json.Unmarshal(line, &kind) != nil {
			continue
		}
		switch {
		case kind.Action != "":
			var r api.AuditRecord
			if json.Unmarshal(line, &r) == nil {
				lines = append(lines, r)
			}
		case kind.SHA256 != "" && kind.Segment > 0:
			var s api.AuditSeal
			if json.Unmarshal(line, &s) == nil {
				f.segments = append(f.segments, exportedSegment{s, lines})
			}
			lines = nil
		}
	}
	if len(f.segments) == 0 {
		return errors.New("holds no segment; give a file that a node writes by --audit-file")
	}
	return nil
}

// last is the segment that was exported last.
func (f *exportedFile) last() *exportedSegment { return &f.segments[len(f.segments)-1] }

// compare tells which segments of the file are others in the cluster, or not there, and
// which records only the file has for that. It asks for the cluster's from the first one
// of the file on.
func (f *exportedFile) compare(ctx context.Context, first int64, sealed func(ctx context.Context, after int64, since time.Time) (api.AuditFeed, error)) ([]string, error) {
	from := f.segments[0].Segment
	for i := range f.segments {
		from = min(from, f.segments[i].Segment)
	}
	sums, names := map[int64]string{}, map[string]bool{}
	for after := max(from, first) - 1; ; {
		feed, err := sealed(ctx, after, time.Time{})
		if err != nil {
			return nil, err
		}
		for _, s := range feed.Seals {
			sums[s.Segment] = s.SHA256
		}
		for i := range feed.Records {
			names[recordKey(&feed.Records[i])] = true
		}
		if feed.Last <= after || len(feed.Seals) == 0 {
			break
		}
		after = feed.Last
	}
	var problems []string
	for i := range f.segments {
		s := &f.segments[i]
		sum, is := sums[s.Segment]
		if s.Segment < first || sum == s.SHA256 { // it was removed when it was old, or is the same
			continue
		}
		what := "is another one in the cluster"
		if !is {
			what = "is not in the cluster"
		}
		var only []string
		for j := range s.lines {
			if r := &s.lines[j]; !names[recordKey(r)] {
				only = append(only, strings.Join(strings.Fields(r.At.UTC().Format(time.RFC3339)+" "+r.By+" "+r.Action+" "+r.Object), " "))
			}
		}
		text := fmt.Sprintf("segment %d of %s %s", s.Segment, f.path, what)
		if len(only) > 0 {
			text += "; only the file has: " + strings.Join(only, ", ")
		}
		problems = append(problems, text)
	}
	return problems, nil
}

// recordKey tells one record from another, whatever segment it is in.
func recordKey(r *api.AuditRecord) string {
	c := *r
	c.Segment = 0
	text, err := json.Marshal(c)
	if err != nil {
		return r.Action + " " + r.Object // it came as JSON
	}
	return string(text)
}

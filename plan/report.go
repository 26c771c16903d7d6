package plan

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Report is what has become of a plan, as it is told to its upstream.
type Report struct {
	Namespace string `json:"namespace" xml:"namespace,attr"`
	Upstream  string `json:"upstream" xml:"upstream,attr"`
	Plan      string `json:"plan" xml:"plan,attr"`
	UID       string `json:"uid" xml:"uid,attr"`
	Digest    string `json:"digest" xml:"digest,attr"`
	// State is open, succeeded, or ended: not all tasks have succeeded.
	State string `json:"state" xml:"state,attr"`
	// Count counts the tasks.
	Count      int        `json:"count" xml:"count,attr"`
	AcceptedAt time.Time  `json:"acceptedAt" xml:"acceptedAt,attr"`
	EndedAt    *time.Time `json:"endedAt,omitempty" xml:"endedAt,attr,omitempty"`
	// At is when the report was made.
	At time.Time `json:"at" xml:"at,attr"`
	// Counts are the tasks by their states.
	Counts map[string]int `json:"counts" xml:"-"`
}

// ReportTask is a task of a report.
type ReportTask struct {
	ID      string     `json:"id" xml:"id,attr"`
	Type    string     `json:"type" xml:"type,attr"`
	State   string     `json:"state" xml:"state,attr"`
	Since   *time.Time `json:"since,omitempty" xml:"since,attr,omitempty"`
	Minion  string     `json:"minion,omitempty" xml:"minion,attr,omitempty"`
	Attempt int        `json:"attempt,omitempty" xml:"attempt,attr,omitempty"`
	Run     string     `json:"run,omitempty" xml:"run,attr,omitempty"`
	Reason  string     `json:"reason,omitempty" xml:"reason,attr,omitempty"`
}

// Receipt answers who sends a plan by other ways than HTTP.
type Receipt struct {
	XMLName xml.Name `json:"-" xml:"receipt"`
	// Accepted: the plan is accepted, now or, when it is Recognised, before. Amends: as a new
	// version of one that was.
	Accepted   bool   `json:"accepted" xml:"accepted,attr"`
	Recognised bool   `json:"recognised,omitempty" xml:"recognised,attr,omitempty"`
	Amends     bool   `json:"amends,omitempty" xml:"amends,attr,omitempty"`
	Upstream   string `json:"upstream,omitempty" xml:"upstream,attr,omitempty"`
	Plan       string `json:"plan,omitempty" xml:"plan,attr,omitempty"`
	UID        string `json:"uid,omitempty" xml:"uid,attr,omitempty"`
	Digest     string `json:"digest,omitempty" xml:"digest,attr,omitempty"`
	Count      int    `json:"count,omitempty" xml:"count,attr,omitempty"`
	// Again: nothing is known to be wrong with it; it may be sent again later.
	Again bool `json:"again,omitempty" xml:"again,attr,omitempty"`
	// Errors are all that is wrong with it.
	Errors []Wrong `json:"errors,omitempty" xml:"error"`
}

// Wrong is an error of a receipt.
type Wrong struct {
	Line    int    `json:"line,omitempty" xml:"line,attr,omitempty"`
	Column  int    `json:"column,omitempty" xml:"column,attr,omitempty"`
	Path    string `json:"path,omitempty" xml:"path,attr,omitempty"`
	Message string `json:"message" xml:",chardata"`
}

// Refused is the receipt of a plan in which something is wrong.
func Refused(problems ...job.Problem) Receipt {
	var r Receipt
	for _, p := range problems {
		r.Errors = append(r.Errors, Wrong{Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Message})
	}
	return r
}

// Write writes the receipt in XML or, in any other format, in JSON.
func (r *Receipt) Write(w io.Writer, format Format) error {
	return write(w, format, r)
}

func write(w io.Writer, format Format, v any) error {
	var text []byte
	var err error
	if format == XML {
		text, err = xml.MarshalIndent(v, "", "  ")
		text = append([]byte(xml.Header), text...)
	} else {
		text, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		return fmt.Errorf("encode a receipt: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// Write writes the report in XML or, in any other format, in JSON, with the tasks as they
// come, if they are not nil. An error of theirs ends it, and what was written is no whole
// document then.
func (r *Report) Write(w io.Writer, format Format, tasks iter.Seq2[ReportTask, error]) error {
	if format == XML {
		return r.writeXML(w, tasks)
	}
	head, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a report: %w", err)
	}
	if tasks == nil {
		_, err = w.Write(append(head, '\n'))
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\n\"tasks\":[", head[:len(head)-1]); err != nil {
		return err
	}
	between := "\n"
	for t, err := range tasks {
		if err != nil {
			return err
		}
		text, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("encode a report: %w", err)
		}
		if _, err := fmt.Fprintf(w, "%s%s", between, text); err != nil {
			return err
		}
		between = ",\n"
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

// count is a number of tasks in a state.
type count struct {
	State string `xml:"state,attr"`
	Tasks int    `xml:"tasks,attr"`
}

func (r *Report) writeXML(w io.Writer, tasks iter.Seq2[ReportTask, error]) error {
	var head struct {
		XMLName xml.Name `xml:"report"`
		*Report
	}
	head.Report = r
	text, err := xml.Marshal(head)
	if err != nil {
		return fmt.Errorf("encode a report: %w", err)
	}
	const end = "</report>"
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, text[:len(text)-len(end)]); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("  ", "  ")
	one := func(name string, v any) error {
		if err := enc.EncodeElement(v, xml.StartElement{Name: xml.Name{Local: name}}); err != nil {
			return fmt.Errorf("encode a report: %w", err)
		}
		return nil
	}
	for _, state := range slices.Sorted(maps.Keys(r.Counts)) {
		if err := one("count", count{state, r.Counts[state]}); err != nil {
			return err
		}
	}
	if tasks != nil {
		for t, err := range tasks {
			if err != nil {
				return err
			}
			if err := one("task", t); err != nil {
				return err
			}
		}
	}
	_, err = io.WriteString(w, "\n"+end+"\n")
	return err
}

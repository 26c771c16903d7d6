package importer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/agentpush/target"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Format is what a source is written in.
type Format string

// The formats.
const (
	Crontab    Format = "crontab"
	Systemd    Format = "systemd"
	Kubernetes Format = "k8s"
	Dkron      Format = "dkron"
	Rundeck    Format = "rundeck"
	XXLJob     Format = "xxl-job"
)

// Formats lists the formats.
func Formats() []Format { return []Format{Crontab, Systemd, Kubernetes, Dkron, Rundeck, XXLJob} }

// MaxBytes is the size of a source that Import reads.
const MaxBytes = 16 << 20

// Source is a file, as it was read.
type Source struct {
	// Name is its path as it was given, or stdin.
	Name string
	Data []byte
}

// Options say what sources do not tell.
type Options struct {
	// Namespace is that of the objects. Empty: job.DefaultNamespace.
	Namespace string
	// Zone is the time zone of schedules that name none. Empty: UTC.
	Zone string
	// Target is where jobs run whose source does not say so, as a target expression.
	// Empty: on any one minion.
	Target string
	// User is the account of what names none. Empty: the minion's own.
	User string
	// MailServer is by which notifiers mail that stand for MAILTO, as host:port. Empty:
	// none is made.
	MailServer string
	// System: crontabs have a column with the account, as /etc/crontab has.
	System bool
}

// Check tells what is wrong with the options.
func (o *Options) Check() error {
	if o.Namespace != "" {
		if err := job.CheckName(o.Namespace); err != nil {
			return fmt.Errorf("namespace: %w", err)
		}
	}
	if err := schedule.CheckZone(o.Zone); err != nil {
		return err
	}
	if o.User != "" {
		if err := job.CheckAccount(o.User); err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	if o.MailServer != "" {
		if host, port, err := net.SplitHostPort(o.MailServer); err != nil || host == "" || port == "" {
			return fmt.Errorf("mail server %q: give host and port, as in smtp.example.org:587", o.MailServer)
		}
	}
	if o.Target != "" {
		if _, err := target.Parse(o.Target); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	return nil
}

// Verdict says what became of a thing that a source says.
type Verdict string

// The verdicts.
const (
	// Kept: it means the same here.
	Kept Verdict = "kept"
	// Approximated: it means nearly the same; the note tells the difference.
	Approximated Verdict = "approximated"
	// NotPossible: it is not carried over; the note tells what to do instead.
	NotPossible Verdict = "not possible"
)

// Note is a line of the report.
type Note struct {
	// File and Line are where the thing stands; Line counts from 1.
	File    string
	Line    int
	Verdict Verdict
	// Text tells what it is, and what to do.
	Text string
	// LeftOut: a whole entry has become no object.
	LeftOut bool
}

// String is the note as people read it.
func (n Note) String() string {
	text := n.Text
	if n.LeftOut {
		text = "left out: " + text
	}
	return fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.Verdict, text)
}

// Result is what Import made of sources.
type Result struct {
	// Objects are valid, in the order of the sources.
	Objects []manifest.Object
	// Notes are in the order of files and lines.
	Notes []Note
}

// Count returns how many notes have a verdict, and how many entries were left out.
func (r *Result) Count(v Verdict) (notes, leftOut int) {
	for _, n := range r.Notes {
		if n.Verdict == v {
			notes++
		}
		if n.LeftOut {
			leftOut++
		}
	}
	return notes, leftOut
}

// Import reads sources of a format. The error is that of a format or of options that
// cannot be; what is wrong with a source is told by notes.
func Import(format Format, sources []Source, o Options) (Result, error) {
	if err := o.Check(); err != nil {
		return Result{}, err
	}
	read, ok := map[Format]func(*book, []Source){
		Crontab: (*book).crontabs, Systemd: (*book).systemd, Kubernetes: (*book).kubernetes,
		Dkron: (*book).dkron, Rundeck: (*book).rundeck, XXLJob: (*book).xxlJob,
	}[format]
	if !ok {
		return Result{}, fmt.Errorf("format %q is unknown", string(format))
	}
	b := &book{opts: o, names: map[string]int{}, files: map[string]int{}, told: map[string]bool{}, mails: map[string]string{}}
	for i, s := range sources {
		if _, twice := b.files[s.Name]; !twice {
			b.files[s.Name] = i
		}
	}
	sources = slices.DeleteFunc(slices.Clone(sources), func(s Source) bool {
		if len(s.Data) > MaxBytes {
			b.leftOut(place{s.Name, 1}, "the file has %d bytes; at most %d are read: split it", len(s.Data), MaxBytes)
			return true
		}
		return false
	})
	read(b, sources)
	return b.result(), nil
}

// place is where something stands.
type place struct {
	file string
	line int
}

// draft is an object that is not finished.
type draft struct {
	at   place
	kind string
	meta job.Metadata
	spec job.Spec
	// notifier is what a notifier is; spec is not used then.
	notifier job.NotifierSpec
	// said is what the report tells of it beside its name.
	said string
}

// book is what is noted while sources are read.
type book struct {
	opts   Options
	names  map[string]int
	files  map[string]int
	drafts []*draft
	notes  []Note
	// told are the notes that are told once.
	told map[string]bool
	// mails are the notifiers that mail, by whom and from whom.
	mails map[string]string
}

func (b *book) note(at place, v Verdict, format string, args ...any) {
	b.notes = append(b.notes, Note{File: at.file, Line: at.line, Verdict: v, Text: oneLine(fmt.Sprintf(format, args...))})
}

func (b *book) kept(at place, format string, args ...any) { b.note(at, Kept, format, args...) }
func (b *book) approximated(at place, format string, args ...any) {
	b.note(at, Approximated, format, args...)
}
func (b *book) notPossible(at place, format string, args ...any) {
	b.note(at, NotPossible, format, args...)
}

// leftOut notes that an entry becomes no object.
func (b *book) leftOut(at place, format string, args ...any) {
	b.note(at, NotPossible, format, args...)
	b.notes[len(b.notes)-1].LeftOut = true
}

// once notes a thing that is approximated of all entries alike.
func (b *book) once(what string, at place, format string, args ...any) {
	if !b.told[what] {
		b.told[what] = true
		b.approximated(at, format, args...)
	}
}

// drop takes a draft back that cannot be finished.
func (b *book) drop(d *draft) {
	if last := len(b.drafts) - 1; last >= 0 && b.drafts[last] == d {
		b.drafts = b.drafts[:last]
		return
	}
	b.drafts = slices.DeleteFunc(b.drafts, func(o *draft) bool { return o == d })
}

// oneLine writes a text in one line.
func oneLine(s string) string { return strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ") }

// job begins a job by a name that is like the wanted one.
func (b *book) job(at place, wanted string) *draft {
	d := &draft{at: at, kind: job.KindJob, meta: job.Metadata{Namespace: b.opts.Namespace, Name: b.name(wanted)}}
	d.meta.Annotations = map[string]string{annotationFrom: at.file}
	d.spec.Target.Match = b.opts.Target
	d.spec.User = b.opts.User
	b.drafts = append(b.drafts, d)
	return d
}

// The annotations of what was imported.
const (
	annotationDescription = "description"
	annotationFrom        = "import/from"
	annotationText        = "import/text"
)

// describe keeps a text for people.
func (d *draft) describe(text string) { d.annotate(annotationDescription, text) }

// annotate keeps a text, if there is one.
func (d *draft) annotate(key, text string) {
	const longest = 16 << 10
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	if text != "" {
		d.meta.Annotations[key] = text
	}
}

// env sets a variable, if it may be set.
func (b *book) env(at place, d *draft, name, value string) {
	if d.spec.Env == nil {
		d.spec.Env = map[string]job.EnvValue{}
	}
	if strings.HasPrefix(name, job.EnvPrefix) {
		b.notPossible(at, "variable %s of job %s: names that begin with %s are set by Carillon itself; give it another name", name, d.meta.Name, job.EnvPrefix)
		return
	}
	d.spec.Env[name] = job.EnvValue{Text: value}
}

// result checks all drafts, and returns those that are valid.
func (b *book) result() Result {
	var out Result
	for _, d := range b.drafts {
		d.spec.TimeZone = movingZone(&d.spec)
		o := manifest.Object{Kind: d.kind, Metadata: d.meta, Spec: d.spec}
		if d.kind == job.KindNotifier {
			o.Spec, o.Notifier = job.Spec{}, d.notifier
		}
		objects, err := again(o)
		if err != nil {
			b.leftOut(d.at, "%s %s: %s", strings.ToLower(d.kind), d.meta.Name, problemsOf(err))
			continue
		}
		out.Objects = append(out.Objects, objects...)
		b.kept(d.at, "%s %s: %s", strings.ToLower(d.kind), d.meta.Name, cmp.Or(d.said, b.words(&objects[0])))
	}
	slices.SortStableFunc(b.notes, func(x, y Note) int {
		return cmp.Or(cmp.Compare(b.files[x.File], b.files[y.File]), cmp.Compare(x.Line, y.Line))
	})
	out.Notes = b.notes
	return out
}

// again writes an object and reads it, as apply will.
func again(o manifest.Object) ([]manifest.Object, error) {
	text, err := manifest.Encode(o)
	if err != nil {
		return nil, err
	}
	objects, err := manifest.Decode("", text)
	if err == nil && len(objects) != 1 {
		err = fmt.Errorf("is %d objects when it is read again", len(objects))
	}
	return objects, err
}

// problemsOf tells the problems of an object without their places, which are those of a
// text that nobody has.
func problemsOf(err error) string {
	invalid, ok := errors.AsType[*job.InvalidError](err)
	if !ok {
		return err.Error()
	}
	var texts []string
	for _, p := range invalid.Problems {
		text := p.Message
		if p.Path != "" {
			text = p.Path + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

// words tells when a job is due.
func (b *book) words(o *manifest.Object) string {
	if len(o.Spec.Schedules) == 0 {
		if after := o.Spec.After; after != nil {
			return "after " + strings.Join(after.Jobs, ", ")
		}
		if o.Spec.OnStart {
			return "with its host"
		}
		return "by hand"
	}
	set, err := schedule.ParseSet(o.Spec.Schedules, schedule.OptionsOf(o.Metadata.Key(), &o.Spec))
	if err != nil {
		return strings.Join(o.Spec.Schedules, ", ")
	}
	text := strings.Join(set.Words(), "; ")
	if !o.Spec.IsEnabled() {
		text += "; disabled"
	}
	return text
}

// movingZone returns the zone of a job, if it moves any of its schedules.
func movingZone(s *job.Spec) string {
	for _, expr := range s.Schedules {
		one, err := schedule.Parse(expr, schedule.Options{Zone: s.TimeZone, Dialect: s.Dialect})
		if err != nil || one.OnClock() && !one.OwnZone() && !one.ZoneIsIdle() {
			return s.TimeZone
		}
	}
	return ""
}

// jumps reports whether the clock of a zone is ever put forward or back.
func jumps(zone string) bool {
	s, err := schedule.Parse("0 0 * * *", schedule.Options{Zone: zone})
	return err == nil && s.Jumps()
}

// seconds is a duration of so many seconds.
func seconds(n int64) job.Duration { return job.Duration(time.Duration(n) * time.Second) }

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

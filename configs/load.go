package configs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/carillon-cron/carillon/job"
)

// envPrefix is what the variables of all settings begin with.
const envPrefix = "CARILLON_"

// Args are what settings are read from.
type Args struct {
	// Flags were registered by SchedulerFlags, and are parsed.
	Flags *pflag.FlagSet
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	// ReadFile reads the file of --config. Nil: os.ReadFile.
	ReadFile func(name string) ([]byte, error)
}

// Source tells where a setting was read: a flag, a variable, or a file with the
// line and column.
type Source struct {
	From         string
	Line, Column int
}

func (s Source) String() string {
	if s.Line > 0 {
		return fmt.Sprintf("%s:%d", s.From, s.Line)
	}
	return s.From
}

// Sources tells of each setting, by its path, where it was read. One that is
// not in it has its default.
type Sources map[string]Source

// LoadScheduler merges and checks a node's settings. The error is a
// *job.InvalidError that holds all problems.
func LoadScheduler(a Args) (Scheduler, Sources, error) {
	l := loader{merged: viper.New(), sources: Sources{}, settings: schedulerSettings()}
	cfg := DefaultScheduler()
	for _, s := range l.settings {
		l.merged.SetDefault(s.path, field(reflect.ValueOf(&cfg).Elem(), s.path).Interface())
	}
	l.file(a)
	l.environ(a.Environ)
	l.flags(a.Flags)
	for _, s := range l.settings {
		to := field(reflect.ValueOf(&cfg).Elem(), s.path)
		l.decode(s, to)
		if from, given := l.sources[s.path]; given && s.unset != "" && to.IsZero() {
			l.problem(from, s.path, "is empty; %s", s.unset)
		}
	}
	// A file that says what is so without it asks for nothing.
	from, given := l.sources["etcd.endpoints"]
	cfg.Etcd.Given = given && (from.Line == 0 || !slices.Equal(cfg.Etcd.Endpoints, DefaultScheduler().Etcd.Endpoints))
	// A setting that cannot be read has its default here, so that it is not
	// blamed twice.
	if bad := (*job.InvalidError)(nil); errors.As(cfg.Validate(), &bad) {
		for _, p := range bad.Problems {
			from := l.sources[p.Path]
			p.File, p.Line, p.Column = from.From, from.Line, from.Column
			l.problems = append(l.problems, p)
		}
	}
	if len(l.problems) > 0 {
		return cfg, l.sources, &job.InvalidError{Problems: l.problems}
	}
	return cfg, l.sources, nil
}

// loader merges settings once and is dropped.
type loader struct {
	merged   *viper.Viper
	sources  Sources
	settings []setting
	problems []job.Problem
}

func (l *loader) problem(from Source, path, format string, args ...any) {
	l.problems = append(l.problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...), File: from.From, Line: from.Line, Column: from.Column})
}

// set overrides a setting.
func (l *loader) set(path string, value any, from Source) {
	if m, ok := value.(map[string]any); ok {
		value = pairs(m) // the capitals of keys would be lost
	}
	l.merged.Set(path, value)
	l.sources[path] = from
}

// file reads the file of --config, if one is given by flag or variable.
func (l *loader) file(a Args) {
	name, err := a.Flags.GetString("config")
	if err != nil || name == "" {
		name = lookup(a.Environ, envPrefix+"CONFIG")
	}
	if name == "" {
		return
	}
	read := a.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	text, err := read(name)
	if err != nil {
		l.problem(Source{From: name}, "", "cannot be read: %v", err)
		return
	}
	l.yaml(name, text)
}

// environ reads the variables. One that is near to a setting's is taken for a
// mistake; others are none of our business.
func (l *loader) environ(environ []string) {
	var names []string
	for _, s := range l.settings {
		names = append(names, strings.TrimPrefix(s.variable(), envPrefix))
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		short, ours := strings.CutPrefix(name, envPrefix)
		if !ours || slices.Contains(foreign(), short) {
			continue
		}
		if i := slices.Index(names, short); i >= 0 {
			l.set(l.settings[i].path, value, Source{From: name})
		} else if near, ok := job.Nearest(short, names); ok {
			l.problem(Source{From: name}, "", "is not a setting; did you mean %s%s?", envPrefix, near)
		}
	}
}

// foreign lists the variables of the CLI, of the worker, and of the commands
// that a minion runs.
func foreign() []string {
	return []string{
		"API_TOKEN", "API_TOKEN_FILE", "CONFIG", "SERVER", "NAMESPACE", "SERVERS", "ID", "LABEL", "MAX_RUNNING", "METRICS_ADDR",
		"FIRE_ID", "RUN_ID", "JOB", "MINION", "ATTEMPT", "TOKEN", "SCHEDULED_AT",
	}
}

func lookup(environ []string, name string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func (l *loader) flags(flags *pflag.FlagSet) {
	for _, s := range l.settings {
		f := flags.Lookup(s.flag)
		if s.flag == "" || f == nil || !f.Changed {
			continue
		}
		var value any = f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = list.GetSlice()
		}
		if m, err := flags.GetStringToString(s.flag); err == nil {
			value = pairs(m)
		}
		l.set(s.path, value, Source{From: "--" + s.flag})
	}
}

// decode stores the merged value of a setting; a value that does not fit is a
// problem, and leaves the default.
func (l *loader) decode(s setting, to reflect.Value) {
	given := l.merged.Get(s.path)
	out := reflect.New(to.Type())
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: out.Interface(), WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(durationOnly, mapstructure.StringToTimeDurationHookFunc(), commaList, labelMap),
	})
	if err == nil {
		err = dec.Decode(given)
	}
	if err != nil {
		l.problem(l.sources[s.path], s.path, "%v is not %s", given, s.kind(to.Interface()))
		return
	}
	to.Set(out.Elem())
}

// durationOnly refuses numbers for durations: nobody means nanoseconds.
func durationOnly(from, to reflect.Type, v any) (any, error) {
	if to == durationType() && from != to && from.Kind() != reflect.String {
		return nil, errors.New("no unit")
	}
	return v, nil
}

// commaList splits a text where a list is wanted, as in a variable.
func commaList(from, to reflect.Type, v any) (any, error) {
	text, ok := v.(string)
	if !ok || from.Kind() != reflect.String || to.Kind() != reflect.Slice {
		return v, nil
	}
	if text == "" {
		return []string{}, nil
	}
	return strings.Split(text, ","), nil
}

// pairs returns the entries of a mapping as KEY=VALUE, in order.
func pairs[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+fmt.Sprint(m[k]))
	}
	return out
}

// labelMap makes a mapping of KEY=VALUE pairs, in a list or with commas between.
func labelMap(_, to reflect.Type, v any) (any, error) {
	if to != reflect.TypeFor[map[string]string]() {
		return v, nil
	}
	var list []string
	switch v := v.(type) {
	case []string:
		list = v
	case []any:
		for _, item := range v {
			list = append(list, fmt.Sprint(item))
		}
	case string:
		if v != "" {
			list = strings.Split(v, ",")
		}
	default:
		return v, nil
	}
	if len(list) == 0 {
		return map[string]string(nil), nil
	}
	labels := make(map[string]string, len(list))
	for _, pair := range list {
		k, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not KEY=VALUE", pair)
		}
		labels[k] = value
	}
	return labels, nil
}

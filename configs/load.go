package configs

import (
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.uber.org/zap"
)

// LoadScheduler merges and checks a node's settings. flags must be parsed. The
// error joins all problems.
func LoadScheduler(flags *pflag.FlagSet, environ []string) (Scheduler, error) {
	cfg := DefaultScheduler()
	v := viper.New()
	paths := leaves(reflect.TypeOf(cfg), "")
	for _, p := range paths {
		v.SetDefault(p, valueAt(reflect.ValueOf(cfg), p))
	}
	if file, err := flags.GetString("config"); err == nil && file != "" {
		v.SetConfigFile(file)
		v.SetConfigType("yaml")
		if err := v.ReadInConfig(); err != nil {
			return cfg, fmt.Errorf("--config %s: %w", file, err)
		}
	}
	// The environment lies between file and flags: it is put in by hand, since
	// viper reads the process's own only.
	if err := fromEnviron(v, paths, environ); err != nil {
		return cfg, err
	}
	for flag, path := range schedulerFlags {
		if f := flags.Lookup(flag); f != nil && f.Changed {
			v.Set(path, flagValue(flags, f))
		}
	}
	if err := unknown(v, paths); err != nil {
		return cfg, err
	}
	out := Scheduler{}
	if err := v.Unmarshal(&out, viper.DecodeHook(mapstructure.ComposeDecodeHookFunc(
		mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","),
	))); err != nil {
		return cfg, fmt.Errorf("settings: %w", err)
	}
	return out, out.Validate()
}

func flagValue(flags *pflag.FlagSet, f *pflag.Flag) any {
	if s, err := flags.GetStringSlice(f.Name); err == nil {
		return s
	}
	return f.Value.String()
}

// leaves lists the paths of all settings.
func leaves(t reflect.Type, under string) []string {
	var out []string
	for _, f := range reflect.VisibleFields(t) {
		p := under + f.Tag.Get("mapstructure")
		if f.Type.Kind() == reflect.Struct {
			out = append(out, leaves(f.Type, p+".")...)
			continue
		}
		out = append(out, p)
	}
	return out
}

func valueAt(v reflect.Value, path string) any {
	name, rest, deeper := strings.Cut(path, ".")
	for i, f := range reflect.VisibleFields(v.Type()) {
		if f.Tag.Get("mapstructure") == name {
			if deeper {
				return valueAt(v.Field(i), rest)
			}
			return v.Field(i).Interface()
		}
	}
	return nil
}

// envName is the variable of a setting: etcd.endpoints is
// CARILLON_ETCD_ENDPOINTS, leaseTTL is CARILLON_LEASE_TTL.
func envName(path string) string {
	var b strings.Builder
	b.WriteString("CARILLON_")
	lower := false
	for _, r := range path {
		switch {
		case r == '.':
			b.WriteByte('_')
			lower = false
			continue
		case r >= 'A' && r <= 'Z' && lower:
			b.WriteByte('_')
		}
		lower = r >= 'a' && r <= 'z'
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

func fromEnviron(v *viper.Viper, paths, environ []string) error {
	given := map[string]string{}
	for _, kv := range environ {
		if k, val, ok := strings.Cut(kv, "="); ok {
			given[k] = val
		}
	}
	merged := map[string]any{}
	for _, p := range paths {
		if val, ok := given[envName(p)]; ok {
			nest(merged, strings.Split(p, "."), val)
		}
	}
	if err := v.MergeConfigMap(merged); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	return nil
}

func nest(m map[string]any, path []string, val any) {
	if len(path) == 1 {
		m[path[0]] = val
		return
	}
	sub, ok := m[path[0]].(map[string]any)
	if !ok {
		sub = map[string]any{}
		m[path[0]] = sub
	}
	nest(sub, path[1:], val)
}

// unknown reports settings that nothing reads.
func unknown(v *viper.Viper, paths []string) error {
	known := map[string]bool{}
	for _, p := range paths {
		known[strings.ToLower(p)] = true
	}
	var errs []error
	keys := v.AllKeys()
	sort.Strings(keys)
	for _, k := range keys {
		if !known[k] {
			errs = append(errs, fmt.Errorf("%s: is not a known setting; known are %s", k, strings.Join(paths, ", ")))
		}
	}
	return errors.Join(errs...)
}

// NewLogger makes the logger that Log describes. It writes to standard error.
func (l Log) NewLogger() (*zap.Logger, error) {
	level, err := zap.ParseAtomicLevel(l.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %q is not known; debug, info, warn or error are allowed", l.Level)
	}
	cfg := zap.NewProductionConfig()
	if l.Format == "console" {
		cfg = zap.NewDevelopmentConfig()
		cfg.Development = false
		cfg.DisableStacktrace = true
		cfg.DisableCaller = true
	}
	cfg.Level = level
	cfg.Sampling = nil
	log, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return log, nil
}

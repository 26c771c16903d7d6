package configs

import (
	"errors"
	"testing"

	"github.com/spf13/viper"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// FuzzFile: whatever a settings file holds, it is read, or refused with what is wrong.
func FuzzFile(f *testing.F) {
	f.Add([]byte("node: n1\nlisten: 127.0.0.1:0\nlabels: {rack: r1}\n"))
	f.Add([]byte("etcd: {endpoints: [a, b]}\nleaseTTL: 5s\nx: y\n"))
	f.Add([]byte("a: &a [*a]\n? {}\n"))
	fuzzed.Run(f, func(t *testing.T, text []byte) {
		l := loader{merged: viper.New(), sources: Sources{}, settings: schedulerSettings()}
		l.yaml("f", text)
		for _, p := range l.problems {
			if p.Message == "" || p.File != "f" {
				t.Errorf("%+v", p)
			}
		}
	})
}

// FuzzSyslog: an address that is taken has all its parts.
func FuzzSyslog(f *testing.F) {
	for _, seed := range []string{"unix:///dev/log", "tcp://h:514", "tls://[::1]:6514", "tcp://h", "unix://h/x", "tcp://u@h:1", "tcp://h:1/x"} {
		f.Add(seed)
	}
	fuzzed.Run(f, func(t *testing.T, text string) {
		s, err := ParseSyslog(text)
		if err == nil && (s.Address == "" || s.Network != "unix" && s.Network != "tcp" && s.Network != "tls") {
			t.Errorf("%q is %+v", text, s)
		}
		if err != nil && errors.As(err, new(*job.InvalidError)) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

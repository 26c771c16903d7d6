package minion

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func TestAllowList(t *testing.T) {
	t.Parallel()
	const text = "echo hi"
	sum := job.ScriptSum(text)
	file := filepath.Join(t.TempDir(), "allow.txt")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# what may run\n/bin/uptime\nsystemctl restart app-*  # these\nrsync ...\nscript " + sum + "\nscript " + sum + " bash -e\nenv TZ APP_*\n")
	l, err := readAllowList(file)
	if err != nil {
		t.Fatal(err)
	}
	script := func(source string, by ...string) job.Order {
		return job.Order{Script: &job.Script{Source: source, Interpreter: by}}
	}
	for name, c := range map[string]struct {
		order job.Order
		ok    bool
	}{
		"as it stands":            {job.Order{Command: []string{"/bin/uptime"}}, true},
		"an argument more":        {job.Order{Command: []string{"/bin/uptime", "-p"}}, false},
		"a glob":                  {job.Order{Command: []string{"systemctl", "restart", "app-1"}}, true},
		"not in the glob":         {job.Order{Command: []string{"systemctl", "restart", "sshd"}}, false},
		"an argument less":        {job.Order{Command: []string{"systemctl", "restart"}}, false},
		"any arguments":           {job.Order{Command: []string{"rsync", "-a", "/x", "y:/z"}}, true},
		"a shell line":            {job.Order{Command: []string{"/bin/sh", "-c", "/bin/uptime"}}, false},
		"nothing":                 {job.Order{}, false},
		"the script":              {script(text), true},
		"by an interpreter":       {script(text, "bash", "-e"), true},
		"by another":              {script(text, "/bin/sh", "-c", "evil"), false},
		"another script":          {script(text + " "), false},
		"by its hash":             {job.Order{Script: &job.Script{}, ScriptSHA256: sum}, true},
		"a lie about the hash":    {job.Order{Script: &job.Script{Source: "evil"}, ScriptSHA256: sum}, false},
		"a text and another hash": {job.Order{Script: &job.Script{Source: text}, ScriptSHA256: job.ScriptSum("evil")}, false},
		"its own variables":       {job.Order{Command: []string{"/bin/uptime"}, Env: map[string]string{"CARILLON_PARAM_X": "1", "TZ": "UTC", "APP_A": "b"}}, true},
		"a loader's variable":     {job.Order{Command: []string{"/bin/uptime"}, Env: map[string]string{"LD_PRELOAD": "/tmp/x.so"}}, false},
		"steps": {job.Order{Steps: []job.OrderStep{
			{Name: "a", Command: []string{"/bin/uptime"}}, {Name: "b", Command: []string{"bash", "-e"}, Script: &job.OrderScript{SHA256: sum}, Args: []string{"any"}},
		}}, true},
		"a bad step":       {job.Order{Steps: []job.OrderStep{{Name: "a", Command: []string{"/bin/uptime"}}, {Name: "b", Command: []string{"rm"}}}}, false},
		"a step's env":     {job.Order{Steps: []job.OrderStep{{Name: "a", Command: []string{"/bin/uptime"}, Env: map[string]string{"PATH": "/tmp"}}}}, false},
		"a step's lie":     {job.Order{Steps: []job.OrderStep{{Name: "a", Script: &job.OrderScript{SHA256: sum, Source: "evil"}}}}, false},
		"a step with args": {job.Order{Steps: []job.OrderStep{{Name: "a", Command: []string{"/bin/uptime"}, Args: []string{"-p"}}}}, false},
	} {
		if err := l.check(&c.order); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	write("script 12ab\n/bin/[x\nscript\n")
	_, err = readAllowList(file)
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 || invalid.Problems[1].Line != 2 {
		t.Errorf("a bad list: %v", err)
	}
}

package agentpb

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// Minions are not believed: an answer that is cut short, too long, or names no fire is none.
func TestReadFires(t *testing.T) {
	uid, err := job.NewUID()
	if err != nil {
		t.Fatal(err)
	}
	line := func(change func(*KnownFire)) string {
		f := KnownFire{Key: "k", Fire: job.FireID{Job: uid, At: 1, Trigger: job.TriggerSchedule}, Attempt: 1, State: job.StateSucceeded}
		if change != nil {
			change(&f)
		}
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	const end, endMore = `{"more":false,"end":true}` + "\n", `{"more":true,"end":true}` + "\n"
	for name, c := range map[string]struct {
		text, wrong string
		more        bool
		lines       int
	}{
		"none":             {end, "", false, 0},
		"a page":           {line(nil) + line(nil) + endMore, "", true, 2},
		"knows not all":    {`{"end":true,"since":7,"gap":"copy"}`, "", false, 0},
		"a gap since ever": {`{"end":true,"gap":"copy"}`, "nothing that can be", false, 0},
		"an absurd gap":    {`{"end":true,"since":7,"gap":"<b>"}`, "nothing that can be", false, 0},
		"a negative since": {`{"end":true,"since":-7,"gap":"new"}`, "nothing that can be", false, 0},
		"cut short":        {line(nil), "cut short", false, 1},
		"no JSON":          {"x\n" + end, "line 1", false, 0},
		"no key":           {line(func(f *KnownFire) { f.Key = "" }) + end, "names no fire", false, 0},
		"no job":           {line(func(f *KnownFire) { f.Fire.Job = job.UID{} }) + end, "line 1", false, 0},
		"no attempt":       {line(func(f *KnownFire) { f.Attempt = 0 }) + end, "names no fire", false, 0},
		"absurd attempt":   {line(func(f *KnownFire) { f.Attempt = 1 << 30 }) + end, "names no fire", false, 0},
		"a state of ours":  {line(func(f *KnownFire) { f.State = "running" }) + end, "none that a task ends in", false, 0},
		"an absurd state":  {line(func(f *KnownFire) { f.State = "<b>" }) + end, "none that a task ends in", false, 0},
		"too many":         {strings.Repeat(line(nil), MaxFires+1) + end, "more than", false, MaxFires},
		"too long a line":  {line(func(f *KnownFire) { f.Job.Name = strings.Repeat("x", maxFireLine) }) + end, "token too long", false, 0},
		"nothing, not end": {"", "cut short", false, 0},
	} {
		lines := 0
		got, err := ReadFires(strings.NewReader(c.text), func(KnownFire) error { lines++; return nil })
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) || got.More != c.more || lines != c.lines {
			t.Errorf("%s: %d lines, more %v, %v", name, lines, got.More, err)
		}
	}
}

package job

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLimitsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Limits{
		`{"memory":"512Mi","pids":100,"cpu":"1.5"}`: {Memory: 512 << 20, Pids: 100, CPU: 1500},
		`{"memory":"2G","cpu":"250m"}`:              {Memory: 2e9, CPU: 250},
		`{"memory":"1048577","cpu":"0.001"}`:        {Memory: 1<<20 + 1, CPU: 1},
		`{}`:                                        {},
	} {
		var got Limits
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		`{"memory":"512MB"}`, `{"memory":"1.5Gi"}`, `{"memory":"-1"}`, `{"memory":""}`, `{"memory":"9999999Ti"}`,
		`{"cpu":"-1"}`, `{"cpu":"1e3"}`, `{"cpu":"NaN"}`, `{"cpu":""}`, `{"cpu":"1.0005"}`, `{"cpu":"m"}`, `{"cpu":"9999999999"}`,
	} {
		var got Limits
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s was read as %+v", text, got)
		}
	}
}

// What is written is read as the same.
func TestLimitsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := Limits{
			Memory: Size(rapid.Int64Range(0, 1<<50).Draw(t, "memory")) << rapid.IntRange(0, 10).Draw(t, "shift"),
			Pids:   rapid.IntRange(0, MaxLimitPids).Draw(t, "pids"), CPU: Cores(rapid.Int64Range(0, MaxLimitCPU).Draw(t, "cpu")),
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Limits
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Fatalf("%s = %+v, %v; want %+v", b, got, err, want)
		}
	})
}

func TestLimitsValidate(t *testing.T) {
	t.Parallel()
	s := Spec{Command: []string{"x"}, Limits: Limits{Memory: 5, Pids: -1, CPU: 9}}
	var text []string
	for _, p := range s.Validate() {
		text = append(text, p.Path+": "+p.Message)
	}
	if all := strings.Join(text, "\n"); len(text) != 3 || !strings.Contains(all, "1Mi or more") || !strings.Contains(all, "0.01 to 4096") {
		t.Errorf("problems = %s", all)
	}
	s.Limits = Limits{Memory: 64 << 20, Pids: 10, CPU: 500}
	if p := s.Validate(); len(p) > 0 {
		t.Errorf("problems = %v", p)
	}
}

package etcdkv

import (
	"encoding/json"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// A key is a secret's, or none: keys whose names begin alike are not.
func TestSecretsByTheirKeys(t *testing.T) {
	t.Parallel()
	k := NewKeys("")
	for key, field := range map[string]string{
		k.AuthCA(): "key", k.AuthTickets(): "keys", k.AuthToken("t1"): "secretHash", k.HookSecret(job.UID{1}): "secret", k.PlanSecret("team", "erp"): "secret", k.Bootstrap(): "hash",
		k.AuthCA() + "x": "", k.AuthMinion("ca"): "", k.HookCall(job.UID{1}, "9f86"): "", k.APIToken("9f86"): "", k.Meta(): "", NewKeys("/elsewhere").AuthCA(): "",
	} {
		if s, ok := k.SecretOf(key); ok != (field != "") || s.Field != field {
			t.Errorf("%s: %q, %v; want %q", key, s.Field, ok, field)
		}
	}
}

// The field of a secret is exchanged, and nothing else, not even what a newer release
// has added.
func TestSecretsLeaveAllElse(t *testing.T) {
	t.Parallel()
	k := NewKeys("")
	s, _ := k.SecretOf(k.AuthTickets())
	record := []byte(`{"schema":1,"keys":[{"key":"AAAA"}],"newer":{"a":12345678901234567890}}`)
	got, err := s.Get("k", record)
	if err != nil || string(got) != `[{"key":"AAAA"}]` {
		t.Errorf("%s, %v", got, err)
	}
	sealed, err := s.With("k", record, json.RawMessage(`"sealed"`))
	if err != nil || string(sealed) != `{"keys":"sealed","newer":{"a":12345678901234567890},"schema":1}` {
		t.Errorf("%s, %v", sealed, err)
	}
	for _, bad := range []string{"", "null", "[]", "7", "{"} {
		if out, err := s.With("k", []byte(bad), json.RawMessage(`1`)); err == nil {
			t.Errorf("%q became %s", bad, out)
		}
	}
}

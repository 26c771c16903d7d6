package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// EnvValue is what a variable of a job holds: a text, or where each minion finds
// one. In JSON it is the text, or an object with the fields below.
type EnvValue struct {
	// Text is the value. Empty with Secret.
	Text string `json:"-"`
	// Secret says where the minion finds the value, just before the start. Only it
	// sees it: nodes, etcd and records have what is written here. Nil: Text is it.
	Secret *SecretRef `json:"secret,omitempty"`
	// Mask: where the command writes the value, its output has *** instead.
	Mask bool `json:"mask,omitempty"`
}

// SecretRef says where a minion finds a value. Exactly one of its fields is given.
// The minion's operator says what may be asked for; see package worker/secrets.
type SecretRef struct {
	// File is the path of a file on the minion; a line end behind the value does not
	// belong to it.
	File string `json:"file,omitempty"`
	// Env is a variable of the minion's own service.
	Env string `json:"env,omitempty"`
	// Exec is a program on the minion and its arguments; the value is what it writes
	// to standard output, without a line end behind it.
	Exec []string `json:"exec,omitempty"`
	// Name is a secret of the same namespace that the cluster keeps, sealed to the
	// minions that can open it (kind: Secret).
	Name string `json:"name,omitempty"`
}

// MaxSecretBytes bounds the value of a secret.
const MaxSecretBytes = 64 << 10

// MinMaskedBytes is the least size of a value that is masked: what is shorter would
// turn up by chance, and where it is masked would tell it.
const MinMaskedBytes = 4

// Text returns the variable that holds a text.
func Text(v string) EnvValue { return EnvValue{Text: v} }

// String tells the value to people: a secret by where it is found.
func (v EnvValue) String() string {
	if v.Secret == nil {
		return v.Text
	}
	text := v.Secret.String()
	if v.Mask {
		text += ", masked"
	}
	return "(secret: " + text + ")"
}

// String tells where the value is found.
func (r *SecretRef) String() string {
	switch {
	case r.File != "":
		return "file " + r.File
	case r.Env != "":
		return "variable " + r.Env
	case r.Name != "":
		return "secret " + r.Name
	}
	return "program " + strings.Join(r.Exec, " ")
}

// MarshalJSON implements json.Marshaler.
func (v EnvValue) MarshalJSON() ([]byte, error) {
	if v.Secret == nil {
		return json.Marshal(v.Text)
	}
	type object EnvValue
	return json.Marshal(object(v))
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *EnvValue) UnmarshalJSON(b []byte) error {
	*v = EnvValue{}
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return json.Unmarshal(b, &v.Text)
	}
	type object EnvValue
	if err := json.Unmarshal(b, (*object)(v)); err != nil {
		return err
	}
	if v.Secret == nil {
		return fmt.Errorf("variable: an object without secret: want a text, or {\"secret\": {\"file\": \"/a/path\"}}")
	}
	return nil
}

// Variables splits an environment: texts, and what minions find out.
func (s *Spec) Variables() (texts map[string]string, secrets map[string]OrderSecret) {
	if len(s.Env) == 0 {
		return nil, nil
	}
	texts = make(map[string]string, len(s.Env))
	for k, v := range s.Env {
		if v.Secret == nil {
			texts[k] = v.Text
			continue
		}
		if secrets == nil {
			secrets = map[string]OrderSecret{}
		}
		secrets[k] = OrderSecret{Secret: v.Secret, Mask: v.Mask}
	}
	return texts, secrets
}

// WithSensitive adds to the secrets of an order sensitive parameters, as variables that
// are masked.
func WithSensitive(secrets map[string]OrderSecret, sensitive map[string]string) map[string]OrderSecret {
	if len(sensitive) == 0 {
		return secrets
	}
	out := make(map[string]OrderSecret, len(secrets)+len(sensitive))
	maps.Copy(out, secrets)
	for name, v := range sensitive {
		out[ParamEnv(name)] = OrderSecret{Value: v, Mask: true}
	}
	return out
}

// Check tells what is wrong with the reference; nil: nothing.
func (r *SecretRef) Check() error {
	var p problems
	r.check(&p, "secret")
	if len(p) == 0 {
		return nil
	}
	return &InvalidError{Problems: p}
}

func (r *SecretRef) check(p *problems, at string) {
	given := 0
	for _, is := range []bool{r.File != "", r.Env != "", len(r.Exec) > 0, r.Name != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		p.add(at, "has %d of file, env, exec and name; give exactly one of them", given)
		return
	}
	switch {
	case r.File != "":
		switch {
		case !path.IsAbs(r.File) || path.Clean(r.File) != r.File:
			p.add(at+".file", "%q is not an absolute path without . and .., as in /etc/carillon/secrets/db", r.File)
		case len(r.File) > MaxPathLen:
			p.add(at+".file", "has %d characters; at most %d are allowed", len(r.File), MaxPathLen)
		case strings.ContainsRune(r.File, 0):
			p.add(at+".file", "has a NUL character, which no path can hold")
		}
	case r.Env != "":
		switch {
		case !isEnvName(r.Env):
			p.add(at+".env", "%q is not the name of a variable; letters, digits and '_' are allowed, and the first is no digit", r.Env)
		case strings.HasPrefix(r.Env, EnvPrefix):
			p.add(at+".env", "names that begin with %s are Carillon's own, and no secrets of jobs", EnvPrefix)
		}
	case r.Name != "":
		if err := CheckName(r.Name); err != nil {
			p.add(at+".name", "%v; a secret is one of the same namespace", err)
		}
	default:
		checkArgs(p, at+".exec", r.Exec)
		if !path.IsAbs(r.Exec[0]) || path.Clean(r.Exec[0]) != r.Exec[0] {
			p.add(at+".exec[0]", "%q is not the absolute path of a program, as in /usr/bin/vault", r.Exec[0])
		}
	}
}

// checkEnvValues checks the variables of a job.
func checkEnvValues(p *problems, env map[string]EnvValue) {
	texts := make(map[string]string, len(env))
	for k, v := range env {
		texts[k] = v.Text
	}
	checkEnv(p, texts)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		v := env[k]
		at := "spec.env." + k
		switch {
		case v.Secret != nil:
			v.Secret.check(p, at+".secret")
		case v.Mask:
			p.add(at+".mask", "is for a secret; give secret, or write the value as text")
		}
	}
}

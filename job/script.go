package job

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KindScript is the kind of the manifest of a script in the library.
const KindScript = "Script"

// ScriptSpec is what a user writes about a script of the library. Its JSON form
// is the manifest's.
type ScriptSpec struct {
	// Category is a word by which people find scripts of a kind.
	Category string `json:"category,omitempty"`
	// Description tells people what the script does.
	Description string `json:"description,omitempty"`
	// Interpreter is the program and leading arguments; the script's path and Args
	// are added. Empty: ["/bin/sh"].
	Interpreter []string `json:"interpreter,omitempty"`
	// Source is the script's text. Parameters never become part of it.
	Source string `json:"source"`
	// Args are the script's arguments; {{NAME}} in one stands for the value of a
	// parameter, whatever characters it has.
	Args []string `json:"args,omitempty"`
	// Params are what the script takes. Each reaches it as the variable
	// CARILLON_PARAM_NAME, and by Args.
	Params []Param `json:"params,omitempty"`
	// Timeout ends the script when it runs longer. Zero: the job's.
	Timeout Duration `json:"timeout,omitempty"`
	// Env is added to the environment.
	Env map[string]string `json:"env,omitempty"`
	// User is the account that has to run the script. Empty: that of the job.
	User string `json:"user,omitempty"`
}

// SavedScript is one version of a script in the library. A version is never
// changed.
type SavedScript struct {
	Metadata
	// Spec is what the user wrote. Source is empty where only SHA256 is at hand.
	Spec ScriptSpec `json:"spec"`
	// Version counts the changes of the script, from 1.
	Version int `json:"version"`
	// SHA256 is the hash of the text, in hexadecimal.
	SHA256 string `json:"sha256"`
	// Bounds are what those who applied the version may have started, as it was then: no
	// job has a minion start it beyond. Empty: anywhere, as whom the job says.
	Bounds Bounds `json:"bounds,omitempty"`
	// CreatedAt is for people; nothing is decided by it.
	CreatedAt time.Time `json:"createdAt"`
}

// Limits of the library.
const (
	// KeptVersions is how many versions of a script are kept that no job names.
	KeptVersions   = 20
	MaxScriptWords = 2000 // characters of category and description
)

// ScriptSum returns the name under which the text of a script travels: its
// SHA-256 in hexadecimal.
func ScriptSum(source string) string {
	sum := sha256.Sum256([]byte(source))
	return hex.EncodeToString(sum[:])
}

// Validate returns all that is wrong with the spec, with paths that begin with
// "spec".
func (s *ScriptSpec) Validate() []Problem {
	var p problems
	checkSource(&p, "spec.source", s.Source)
	checkArgs(&p, "spec.interpreter", s.Interpreter)
	checkParamList(&p, "spec.params", s.Params)
	for i, a := range s.Args {
		at := "spec.args[" + strconv.Itoa(i) + "]"
		if strings.ContainsRune(a, 0) {
			p.add(at, "has a NUL character, which no argument can hold")
		}
		for _, name := range references(a) {
			if paramOf(s.Params, name) == nil {
				p.unknownParam(at, name, paramNames(s.Params), "declare it in spec.params")
			}
		}
	}
	p.sensitiveParams("spec.args", s.Args, s.Params)
	checkValuesInSource(&p, "spec.source", s.Source, s.Params)
	by := s.Interpreter
	if len(by) == 0 {
		by = []string{"/bin/sh"}
	}
	code := readAsCode(slices.Concat(by, []string{"/its.text"}, s.Args))[len(by)+1:]
	for i, a := range s.Args {
		if code[i] && reference.MatchString(a) {
			p.add("spec.args["+strconv.Itoa(i)+"]", "%q stands where %s may read the value as code; use the variable CARILLON_PARAM_NAME", a, by[0])
		}
	}
	if len(s.Args) > MaxArgs {
		p.add("spec.args", "has %d entries; at most %d are allowed", len(s.Args), MaxArgs)
	}
	if n := len(s.Category) + len(s.Description); n > MaxScriptWords {
		p.add("spec.description", "has, with the category, %d bytes; at most %d are allowed", n, MaxScriptWords)
	}
	if t := time.Duration(s.Timeout); t != 0 && (t < MinTimeout || t > MaxTimeout) {
		p.add("spec.timeout", "%s is out of range; %s to %s are allowed", short(t), short(MinTimeout), short(MaxTimeout))
	}
	checkEnv(&p, s.Env)
	if s.User != "" {
		checkUser(&p, s.User)
	}
	return p
}

// ScriptRef names a script of the library.
type ScriptRef struct {
	Key Key
	// Version is one of its versions. Zero: the newest.
	Version int
}

// ParseScriptRef reads NAME, NAME@VERSION, or either with NAMESPACE/ before it;
// namespace is that of names without one.
func ParseScriptRef(s, namespace string) (ScriptRef, error) {
	name, version, pinned := strings.Cut(s, "@")
	ref := ScriptRef{Key: Key{Namespace: namespace, Name: name}}
	if ns, rest, ok := strings.Cut(name, "/"); ok {
		ref.Key = Key{Namespace: ns, Name: rest}
		if err := CheckName(ns); err != nil {
			return ref, fmt.Errorf("the namespace %w", err)
		}
	}
	if err := CheckName(ref.Key.Name); err != nil {
		return ref, fmt.Errorf("the name %w", err)
	}
	if pinned {
		n, err := strconv.Atoi(version)
		if err != nil || n < 1 {
			return ref, fmt.Errorf("%q is not a version; write a number from 1 on, as in %s@3", version, name)
		}
		ref.Version = n
	}
	return ref, nil
}

// String returns the form that ParseScriptRef reads.
func (r ScriptRef) String() string {
	if r.Version == 0 {
		return r.Key.String()
	}
	return r.Key.String() + "@" + strconv.Itoa(r.Version)
}

// checkSource checks the text of a script.
func checkSource(p *problems, at, source string) {
	switch n := len(source); {
	case strings.TrimSpace(source) == "":
		p.add(at, "is empty; give the text of the script")
	case n > MaxScriptBytes:
		p.add(at, "has %d bytes; at most %d are allowed", n, MaxScriptBytes)
	case strings.ContainsRune(source, 0):
		p.add(at, "has a NUL character; it has to be text")
	}
}

func (p *problems) unknownParam(at, name string, known []string, otherwise string) {
	hint := otherwise
	if near, ok := Nearest(name, known); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 {
		hint = "allowed: " + strings.Join(known, ", ")
	}
	p.add(at, "there is no parameter %q; %s", name, hint)
}

// checkEnv checks variables that are added to an environment.
func checkEnv(p *problems, env map[string]string) {
	if len(env) > MaxEnv {
		p.add("spec.env", "has %d entries; at most %d are allowed", len(env), MaxEnv)
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		checkVariable(p, k, env[k])
	}
}

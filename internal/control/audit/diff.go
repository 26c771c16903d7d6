package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Bounds of what a record tells of changes.
const (
	// maxValue bounds a value, maxObject the changes of an object, in bytes.
	maxValue  = 256
	maxObject = 4 << 10
	// MaxRecord bounds a record, however many objects it is of.
	MaxRecord = 128 << 10
)

// Changes tells what differs between two values of an object, as they are stored, and
// how many more differences there are for which there was no room. Nil: there is no
// object. What Carillon itself keeps with an object is no change of it.
func Changes(before, after []byte) ([]etcdkv.AuditChange, int) {
	x, y := told(before), told(after)
	if x == nil && y == nil {
		return nil, 0
	}
	d := differ{}
	d.compare("", x, y, false)
	return bounded(d.changes, maxObject)
}

// bounded keeps as many of the changes as take so many bytes.
func bounded(changes []etcdkv.AuditChange, most int) ([]etcdkv.AuditChange, int) {
	size := 0
	for i, c := range changes {
		stored, _ := json.Marshal(c) // texts can be
		if size += len(stored) + 1; size > most {
			return changes[:i:i], len(changes) - i
		}
	}
	return changes, 0
}

// told reads a stored value, and leaves out what nobody has written: of an object with
// a spec, all but what users say of it.
func told(value []byte) any {
	if len(value) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return nil // of a newer release, or damaged
	}
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if _, is := object["spec"]; is {
		maps.DeleteFunc(object, func(k string, _ any) bool {
			return !slices.Contains([]string{"labels", "annotations", "spec", "version", "sha256"}, k)
		})
		return object
	}
	for _, k := range []string{"schema", "by", "reason", "earlier"} {
		delete(object, k)
	}
	return object
}

// differ gathers differences, in the order of their paths.
type differ struct{ changes []etcdkv.AuditChange }

// compare compares two values at a path; secret: neither may be told.
func (d *differ) compare(path string, x, y any, secret bool) {
	if a, b := text(x), text(y); a == b {
		return
	}
	xo, xIs := x.(map[string]any)
	yo, yIs := y.(map[string]any)
	if (xIs || x == nil) && (yIs || y == nil) {
		d.members(path, xo, yo, secret)
		return
	}
	xl, xIs := x.([]any)
	yl, yIs := y.([]any)
	if (xIs || x == nil) && (yIs || y == nil) && (nested(xl) || nested(yl)) {
		for i := range max(len(xl), len(yl)) {
			d.compare(fmt.Sprintf("%s[%d]", path, i), at(xl, i), at(yl, i), secret)
		}
		return
	}
	d.changes = append(d.changes, etcdkv.AuditChange{Path: path, Before: shown(x, secret), After: shown(y, secret)})
}

func (d *differ) members(path string, x, y map[string]any, secret bool) {
	names := map[string]bool{}
	for k := range x {
		names[k] = true
	}
	for k := range y {
		names[k] = true
	}
	hidden := secret || marked(x) || marked(y)
	for _, k := range slices.Sorted(maps.Keys(names)) {
		under := strings.TrimPrefix(path+"."+k, ".")
		d.compare(under, x[k], y[k], secret || isSecret(k) || hidden && isValue(k) || k == "sensitive" && (isObject(x[k]) || isObject(y[k])))
	}
}

// isObject reports whether a value has members: those of sensitive parameters do.
func isObject(v any) bool {
	_, is := v.(map[string]any)
	return is
}

// nested reports whether a list holds more than plain values.
func nested(list []any) bool {
	return slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// text is a value as JSON; empty: there is none.
func text(v any) string {
	if v == nil {
		return ""
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // it was JSON
	return strings.TrimSuffix(b.String(), "\n")
}

// shown is a value as a record tells it.
func shown(v any, secret bool) string {
	t := text(v)
	switch {
	case t == "":
		return ""
	case secret:
		return masked
	}
	// Looking for passwords takes time, and what comes far behind is not shown. A password
	// that begins in what is shown ends within the part that is looked at.
	told := withoutPasswords(t[:min(len(t), 32*maxValue)])
	if len(told) > maxValue || len(t) > 32*maxValue {
		return strings.ToValidUTF8(told[:min(len(told), maxValue)], "") + fmt.Sprintf("... (%d bytes)", len(t))
	}
	return told
}

package etcdkv

import (
	"encoding/json"
	"fmt"
)

// Encode returns the JSON of a record.
func Encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

// Decode reads the JSON of a record found at key.
func Decode[T any](key string, b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("decode %T at %s: %w", v, key, err)
	}
	return v, nil
}

// MergeUnknown returns next with the members of old that T does not know added,
// so that a field of a newer release survives a read-modify-write by this one.
func MergeUnknown[T any](old []byte, next T) (string, error) {
	text, err := Encode(next)
	if err != nil {
		return "", err
	}
	var was, known, now map[string]json.RawMessage
	if err := json.Unmarshal(old, &was); err != nil {
		return text, nil // what cannot be read holds nothing to keep
	}
	var prev T
	if err := json.Unmarshal(old, &prev); err != nil {
		return text, nil
	}
	b, err := json.Marshal(prev)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", prev, err)
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return "", fmt.Errorf("decode %T: %w", prev, err)
	}
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		return "", fmt.Errorf("decode %T: %w", next, err)
	}
	added := false
	for k, v := range was {
		_, mine := known[k]
		_, set := now[k]
		if !mine && !set {
			now[k], added = v, true
		}
	}
	if !added {
		return text, nil
	}
	b, err = json.Marshal(now)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", next, err)
	}
	return string(b), nil
}

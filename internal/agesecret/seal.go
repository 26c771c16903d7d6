package agesecret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/carillon-cron/carillon/job"
)

// first is what begins a sealed value; the secret's NAMESPACE/NAME and a line end follow.
const first = "carillon-secret/1 "

// CheckRecipient tells why a text is no recipient to which values are sealed.
func CheckRecipient(text string) error {
	if strings.HasPrefix(text, "AGE-SECRET-KEY-") {
		return errors.New("is the secret half of a key, which nobody but its minion may have: take another key, and give its public half, which begins with age1")
	}
	if _, err := age.ParseX25519Recipient(text); err != nil {
		return fmt.Errorf("is no public key of age (X25519), as in age1...: %d characters", len(text))
	}
	return nil
}

// CheckValue tells why a value cannot be sealed.
func CheckValue(value string) error {
	switch {
	case value == "":
		return errors.New("is empty")
	case strings.ContainsRune(value, 0):
		return errors.New("has a zero byte, which no variable can hold")
	case len(value) > job.MaxSealedValue:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(value), job.MaxSealedValue)
	}
	return nil
}

// Seal seals the value of a secret to recipients.
func Seal(of job.Key, value string, recipients []string) (string, error) {
	if err := CheckValue(value); err != nil {
		return "", fmt.Errorf("the value %w", err)
	}
	if len(recipients) == 0 || len(recipients) > job.MaxRecipients {
		return "", fmt.Errorf("there are %d recipients; 1 to %d are allowed: more hosts can share a key (worker --secret-identity)", len(recipients), job.MaxRecipients)
	}
	to := make([]age.Recipient, len(recipients))
	for i, text := range recipients {
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return "", fmt.Errorf("recipient %q %w", text, CheckRecipient(text))
		}
		to[i] = r
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to...)
	if err == nil {
		_, err = io.WriteString(w, first+of.String()+"\n"+value)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = armored.Close()
	}
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	if out.Len() > job.MaxSealedBytes {
		return "", fmt.Errorf("the sealed value has %d bytes; at most %d are allowed: seal it to fewer recipients, or to a key that hosts share (worker --secret-identity)", out.Len(), job.MaxSealedBytes)
	}
	return out.String(), nil
}

// Check tells why a text is not sealed; and to how many recipients it is (E2).
func Check(text string) (recipients int, err error) {
	const how = "seal the value on your own host: carillon secret seal NAME"
	switch {
	case text == "":
		return 0, errors.New("is missing; " + how)
	case len(text) > job.MaxSealedBytes:
		return 0, fmt.Errorf("has %d bytes; at most %d are allowed", len(text), job.MaxSealedBytes)
	case !strings.HasPrefix(text, armor.Header+"\n") || strings.Count(text, armor.Header) != 1:
		return 0, fmt.Errorf("is not one text that age has encrypted (%s), and a value in the clear is not kept: %s", armor.Header, how)
	}
	file, err := io.ReadAll(armor.NewReader(strings.NewReader(text)))
	if err != nil {
		return 0, errors.New("is damaged: its armor cannot be read; " + how)
	}
	header, err := age.ExtractHeader(bytes.NewReader(file))
	if err != nil {
		return 0, errors.New("is damaged: it is no file of age; " + how)
	}
	for line := range strings.Lines(string(header)) {
		kind, is := strings.CutPrefix(line, "-> ")
		switch kind, _, _ = strings.Cut(strings.TrimSpace(kind), " "); {
		case !is, strings.HasSuffix(kind, "-grease"): // which means nothing
		case kind == "X25519":
			recipients++
		default:
			return 0, fmt.Errorf("is sealed to a recipient of the kind %q, which minions do not have; %s", kind, how)
		}
	}
	if recipients == 0 || recipients > job.MaxRecipients {
		return 0, fmt.Errorf("is sealed to %d recipients; 1 to %d are allowed", recipients, job.MaxRecipients)
	}
	// Behind the header are a nonce of 16 bytes, and as many at least as seal the last part.
	if len(file) < len(header)+32 {
		return 0, errors.New("is damaged: it is cut short; " + how)
	}
	return recipients, nil
}

// errOther is told of a value that was sealed as another secret.
var errOther = errors.New("was sealed as another secret, and copied: seal the value as this one")

// ErrNotRecipient says that a value is sealed to others.
var ErrNotRecipient = errors.New("is not sealed to this key")

// Open opens the value of a secret. The error is ErrNotRecipient when it is sealed to
// none of the identities.
func Open(of job.Key, text string, ids *Identities) (string, error) {
	if _, err := Check(text); err != nil {
		return "", err
	}
	if ids == nil || len(ids.all) == 0 {
		return "", ErrNotRecipient
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(text)), ids.all...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return "", ErrNotRecipient
	}
	if err != nil {
		return "", errors.New("is damaged: its header was changed")
	}
	plain, err := io.ReadAll(io.LimitReader(r, job.MaxSealedBytes))
	if err != nil {
		return "", errors.New("is damaged: it was changed, or cut short")
	}
	name, value, ok := strings.Cut(string(plain), "\n")
	if !ok || name != first+of.String() {
		if ok && strings.HasPrefix(name, first) {
			return "", errOther
		}
		return "", fmt.Errorf("is not the value of a secret of Carillon: its first line is not %q", first+of.String())
	}
	if err := CheckValue(value); err != nil {
		return "", err
	}
	return value, nil
}

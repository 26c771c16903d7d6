package release

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Number is the number of a release. Numbers rise: a manifest that is signed
// later has a higher one. Zero means none.
type Number int64

// Platform is an operating system and a processor as Go names them, such as linux/amd64.
type Platform string

// PlatformOf returns the platform of goos and goarch.
func PlatformOf(goos, goarch string) Platform { return Platform(goos + "/" + goarch) }

// Format is the version of the manifest's fields that this package writes and reads.
const Format = 1

// MaxArtifact is the largest size of an artifact, in bytes.
const MaxArtifact = 1 << 30

// The reasons why a manifest is refused. Each refusal wraps one or more of them.
var (
	// ErrSignature: too few trusted keys have signed exactly these bytes.
	ErrSignature = errors.New("not signed by enough trusted keys")
	// ErrInvalid: what was signed is no manifest that this program understands.
	ErrInvalid = errors.New("manifest is not valid")
	// ErrExpired: the manifest is too old to be the newest one.
	ErrExpired = errors.New("manifest has expired")
	// ErrOlder: the manifest's number is below the floor, or its rollback goes
	// lower than the minimum.
	ErrOlder = errors.New("release is older than what is allowed")
	// ErrNoArtifact: there is no program for this platform.
	ErrNoArtifact = errors.New("release has no artifact for this platform")
)

// Artifact is the program of a release for one platform.
type Artifact struct {
	// URL is where it is fetched: https, http or file.
	URL string `json:"url"`
	// Size is its exact size in bytes, from 1 to MaxArtifact.
	Size int64 `json:"size"`
	// SHA256 is the hash of its bytes in lower-case hexadecimal.
	SHA256 string `json:"sha256"`
}

// Manifest describes a release. Only its signed form is ever trusted: see Sign and Verify.
type Manifest struct {
	// Format is the version of these fields. Sign fills in zero.
	Format int `json:"format"`
	// Release is the manifest's number, above those of all that were signed before.
	Release Number `json:"release"`
	// Version is what people call it. Needed.
	Version string `json:"version"`
	// Expires ends the manifest's validity, so that an old one cannot be passed
	// off as the newest for ever. Needed.
	Expires time.Time `json:"expires"`
	// Minimum is the lowest release that a later rollback entry may name; it
	// holds from when this release is confirmed. Zero: as it was.
	Minimum Number `json:"minimum,omitempty"`
	// RollbackTo makes the manifest a rollback entry: its artifacts are those of
	// this older release, which may be below the floor. The entry has a Release
	// of its own and expires as any other, so that an old entry cannot be
	// played again after a newer release.
	RollbackTo Number `json:"rollbackTo,omitempty"`
	// Artifacts are the programs by platform. At least one is needed.
	Artifacts map[Platform]Artifact `json:"artifacts"`
}

// Program returns the number of the release whose program this manifest
// installs: RollbackTo for a rollback entry, Release otherwise.
func (m Manifest) Program() Number {
	if m.RollbackTo != 0 {
		return m.RollbackTo
	}
	return m.Release
}

// Artifact returns the program for a platform, or an error that wraps ErrNoArtifact.
func (m Manifest) Artifact(p Platform) (Artifact, error) {
	a, ok := m.Artifacts[p]
	if !ok {
		return Artifact{}, fmt.Errorf("release %d (%s), platform %s: %w", m.Release, m.Version, p, ErrNoArtifact)
	}
	return a, nil
}

// Validate returns all that is wrong with the manifest; every error wraps ErrInvalid.
func (m Manifest) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...)))
	}
	if m.Format != Format {
		bad("format is %d, and this program reads %d", m.Format, Format)
	}
	if m.Release <= 0 {
		bad("release is %d: must be above zero", m.Release)
	}
	if m.Version == "" {
		bad("version is empty: must tell people what this is")
	}
	if m.Expires.IsZero() {
		bad("expires is missing: every manifest must expire")
	}
	if m.Minimum < 0 || m.Minimum > m.Program() {
		bad("minimum is %d: must be from 0 to the release that is installed, %d", m.Minimum, m.Program())
	}
	if m.RollbackTo < 0 || m.RollbackTo != 0 && m.RollbackTo >= m.Release {
		bad("rollbackTo is %d: must be above zero and below release %d", m.RollbackTo, m.Release)
	}
	if len(m.Artifacts) == 0 {
		bad("artifacts is empty: must have one platform at least")
	}
	for p, a := range m.Artifacts {
		for _, problem := range a.problems() {
			bad("artifact %s: %s", p, problem)
		}
	}
	return errors.Join(errs...)
}

func (a Artifact) problems() []string {
	var all []string
	if a.Size <= 0 || a.Size > MaxArtifact {
		all = append(all, fmt.Sprintf("size is %d: must be from 1 to %d bytes", a.Size, MaxArtifact))
	}
	if sum, err := hex.DecodeString(a.SHA256); err != nil || len(sum) != 32 || hex.EncodeToString(sum) != a.SHA256 {
		all = append(all, fmt.Sprintf("sha256 is %q: must be 64 lower-case hexadecimal digits", a.SHA256))
	}
	u, err := url.Parse(a.URL)
	if err != nil || !fetchable(u) {
		all = append(all, fmt.Sprintf("url is %q: must begin with https://, http:// or file:///", a.URL))
	}
	return all
}

// Bytes returns the canonical form of the manifest, which is what is signed:
// the same manifest always has the same bytes.
func (m Manifest) Bytes() ([]byte, error) {
	if m.Format == 0 {
		m.Format = Format
	}
	m.Expires = m.Expires.UTC().Truncate(time.Second)
	if err := m.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(m) // fields in their order, map keys sorted, no white space
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b, nil
}

// parseManifest reads signed bytes. Fields it does not know are left out of
// account, so that older minions can be told of newer releases; a change they
// must not overlook needs a new Format.
func parseManifest(b []byte) (Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if dec.More() {
		return m, fmt.Errorf("%w: something follows the manifest", ErrInvalid)
	}
	return m, m.Validate()
}

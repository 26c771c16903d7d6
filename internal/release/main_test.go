package release

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"testing"
	"time"
)

// now is when all tests happen.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// signingKey returns the same key for the same seed.
func signingKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicKey(seed byte) ed25519.PublicKey { return signingKey(seed).Public().(ed25519.PublicKey) }

func here() Platform { return PlatformOf(runtime.GOOS, runtime.GOARCH) }

// artifactOf describes a program that lies at url.
func artifactOf(program []byte, url string) Artifact {
	sum := sha256.Sum256(program)
	return Artifact{URL: url, Size: int64(len(program)), SHA256: hex.EncodeToString(sum[:])}
}

// manifestOf describes release n as a program for this platform.
func manifestOf(n Number, a Artifact) Manifest {
	return Manifest{Release: n, Version: "v" + string(rune('0'+n%10)), Expires: now.Add(time.Hour), Artifacts: map[Platform]Artifact{here(): a}}
}

// verified signs and verifies, as a node and its minion do.
func verified(t testing.TB, m Manifest, floor Floor) Verified {
	t.Helper()
	s, err := Sign(m, signingKey(1))
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Verify([]ed25519.PublicKey{publicKey(1), publicKey(2)}, 1, now, floor)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

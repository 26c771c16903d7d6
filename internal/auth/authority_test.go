package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

func TestAuthoritySurvivesItsText(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	key, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseAuthority(a.CertificatePEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := b.SignMinion(request(t, "m1", newKey(t)), "m1", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.CheckSignatureFrom(a.Certificate()); err != nil {
		t.Errorf("signed by the authority that was read: %v", err)
	}
	other, err := newAuthority(t).KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseAuthority(a.CertificatePEM(), other); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("another authority's key: %v", err)
	}
}

func TestMinionCertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	at := time.Date(2026, 5, 4, 10, 30, 15, 999, time.UTC)
	a.cert.NotBefore = at.Add(-time.Hour)
	der, err := a.SignMinion(request(t, "web-1", newKey(t)), "web-1", 0, at)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	want := Identity{Kind: KindMinion, Name: "web-1", Serial: leaf.SerialNumber.Text(16), IssuedAt: at.Truncate(time.Second)}
	if id != want {
		t.Errorf("identity is %+v, want %+v", id, want)
	}
	if got := leaf.NotAfter.Sub(id.IssuedAt); got != MinionTTL {
		t.Errorf("lasts %s, want %s", got, MinionTTL)
	}
	if got := id.IssuedAt.Sub(leaf.NotBefore); got != Skew {
		t.Errorf("begins %s early, want %s", got, Skew)
	}
	// I2: good for clients only, without a DNS name.
	if !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || len(leaf.DNSNames) > 0 || leaf.IsCA {
		t.Errorf("usages %v, names %v, authority %v; want a client's only", leaf.ExtKeyUsage, leaf.DNSNames, leaf.IsCA)
	}
}

func TestCertificateDoesNotOutlastTheAuthority(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	end := a.Certificate().NotAfter
	der, err := a.SignMinion(request(t, "m1", newKey(t)), "m1", 0, end.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := x509.ParseCertificate(der); err != nil || !leaf.NotAfter.Equal(end) {
		t.Errorf("ends %v (%v), want the authority's end %v", leaf.NotAfter, err, end)
	}
	if _, err := a.SignMinion(request(t, "m1", newKey(t)), "m1", 0, end); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("signed by an expired authority: %v", err)
	}
}

func TestI3_RequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := request(t, "m1", newKey(t))
	forged[len(forged)-1] ^= 1
	for name, tc := range map[string]struct {
		csr  []byte
		id   job.MinionID
		want string
	}{
		"no request":   {[]byte("x"), "m1", "cannot be read"},
		"forged":       {forged, "m1", "not signed by its own key"},
		"RSA":          {request(t, "m1", weak), "m1", "use ECDSA or Ed25519"},
		"another id":   {request(t, "m2", newKey(t)), "m1", `asks for the name "m2"`},
		"no id":        {request(t, "m1", newKey(t)), "", "minion: is empty"},
		"a path":       {request(t, "m1", newKey(t)), "../m1", "begins or ends"},
		"a short life": {request(t, "m1", newKey(t)), "m1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.SignMinion(tc.csr, tc.id, time.Hour, time.Now())
			if tc.want == "" {
				if err != nil {
					t.Errorf("the good request is refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

func TestI3_OnlyTheKeyOfARequestCounts(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	node, err := url.Parse("carillon://node/n1")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "m1", Organization: []string{"root"}}, DNSNames: []string{ServerName}, URIs: []*url.URL{node},
	}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.SignMinion(csr, "m1", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := IdentityOf(leaf); err != nil || id.String() != "minion m1" || len(leaf.DNSNames) > 0 || len(leaf.Subject.Organization) > 0 {
		t.Errorf("certificate of %s (%v) with names %v for %s; want what was enrolled only", id, err, leaf.DNSNames, leaf.Subject)
	}
}

func TestNodeCertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert, err := a.IssueNode("n1", []string{"10.0.0.1", "n1.example.org", ServerName}, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{ServerName, "10.0.0.1", "n1.example.org"} {
		if err := cert.Leaf.VerifyHostname(host); err != nil {
			t.Errorf("as %s: %v", host, err)
		}
	}
	if len(cert.Leaf.DNSNames) != 2 {
		t.Errorf("names are %v, want each once", cert.Leaf.DNSNames)
	}
	if id, err := IdentityOf(cert.Leaf); err != nil || id.String() != "node n1" {
		t.Errorf("is %s (%v), want node n1", id, err)
	}
}

func TestIdentityIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cn   string
		uris []string
		ok   bool
	}{
		{"m1", []string{"carillon://minion/m1"}, true},
		{"m1", []string{"carillon://node/m1"}, true},
		{"m1", nil, false},
		{"m1", []string{"carillon://minion/m1", "carillon://node/m1"}, false},
		{"m1", []string{"carillon://admin/m1"}, false},
		{"m1", []string{"https://minion/m1"}, false},
		{"m1", []string{"carillon://minion/m2"}, false},
		{"m1", []string{"carillon://minion/m1?x=1"}, false},
		{"m1", []string{"carillon://minion//m1"}, false},
		{"m1", []string{"carillon://u@minion/m1"}, false},
		{"", []string{"carillon://minion/"}, false},
		{"a/b", []string{"carillon://minion/a/b"}, false},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: tc.cn}, SerialNumber: newAuthority(t).cert.SerialNumber}
		for _, s := range tc.uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		}
		if id, err := IdentityOf(cert); (err == nil) != tc.ok {
			t.Errorf("%q %v: %s, %v; want accepted: %v", tc.cn, tc.uris, id, err, tc.ok)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	tok, err := NewToken(a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseToken(tok.Text() + "\n")
	if err != nil || got != tok {
		t.Fatalf("read %v, %v; want %v", got, err, tok)
	}
	other, err := NewToken(a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Matches(tok.SecretHash()) || got.Matches(other.SecretHash()) || got.Matches("") {
		t.Error("the token must match its own hash, and no other")
	}
	// I1: nothing that prints a token shows the secret.
	for _, s := range []string{fmt.Sprint(tok), fmt.Sprintf("%v %+v %#v %s", tok, tok, tok, &tok), tok.SecretHash()} {
		if strings.Contains(s, tok.secret) {
			t.Errorf("the secret is shown: %s", s)
		}
	}
	if _, err := ParseToken(tok.Text()[1:]); err == nil || strings.Contains(err.Error(), tok.secret) {
		t.Errorf("a cut token: %v; want an error without the secret", err)
	}
}

func TestTokenTextIsOneOfAKind(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9a-z]{7,9}\.[0-9a-z]{31,33}\.[0-9a-f]{31,33}`).Draw(t, "text")
		if tok, err := ParseToken(text); err == nil && tok.Text() != text {
			t.Fatalf("%q was read as %q", text, tok.Text())
		}
	})
}

func TestErrorsOfWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := NewServerTLS(ServerConfig{}); err == nil {
		t.Error("a server without an authority is accepted")
	}
	if _, err := ClientTLS(ClientConfig{}); err == nil {
		t.Error("a client without an authority is accepted")
	}
	a := newAuthority(t)
	if err := newServerTLS(t, a, &revocations{}).SetTickets(nil); err == nil {
		t.Error("no ticket keys are accepted")
	}
	_, err := Open(CredentialsConfig{Servers: []string{"n1"}, Token: "x"}, CredentialsDeps{})
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 4 {
		t.Errorf("all problems at once: %v; want 4", err)
	}
	var _ tls.ClientSessionCache = newSessions()
}

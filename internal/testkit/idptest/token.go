package idptest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// key is one that tokens are signed by.
type key struct {
	id      string
	private *rsa.PrivateKey
}

func newKey(id string) (*key, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("new key: %w", err)
	}
	return &key{id, private}, nil
}

// Rotate has tokens be signed by a new key, and takes the old one out of the key set.
func (p *Provider) Rotate() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.minted++
	k, err := newKey(fmt.Sprintf("key-%d", p.minted))
	if err == nil {
		p.keys = []*key{k}
	}
	return err
}

func (p *Provider) keySet(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: "RS256", Use: "sig"})
	}
	reply(w, http.StatusOK, set)
}

// sign returns a token of claims, as the faults have it. The caller holds mu.
func (p *Provider) sign(claims map[string]any) (string, error) {
	if p.faults.Claims != nil {
		p.faults.Claims(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	k := p.keys[0]
	switch p.faults.Sign {
	case "none":
		return unsigned(map[string]any{"alg": "none"}, payload), nil
	case "HS256":
		der, err := x509.MarshalPKIXPublicKey(k.private.Public())
		if err != nil {
			return "", err
		}
		text := unsigned(map[string]any{"alg": "HS256", "kid": k.id}, payload)
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		_, _ = mac.Write([]byte(text[:len(text)-1])) // it never fails
		return text + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
	case "swapped", "unknown":
		id := k.id
		if p.faults.Sign == "unknown" {
			id = "another"
		}
		if k, err = newKey(id); err != nil {
			return "", err
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}}, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// unsigned returns a token without its signature, with the dot before it.
func unsigned(header map[string]any, payload []byte) string {
	head, _ := json.Marshal(header) // it can be
	return base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

// LogoutToken returns a token that ends the sessions of a user.
func (p *Provider) LogoutToken(name string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return p.sign(map[string]any{
		"iss": p.Issuer, "sub": p.users[name].Subject(), "aud": ClientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(),
		"jti": random(), "sid": "sid-" + name, "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	})
}

// SendLogout sends a logout token to a client, and returns what it answers. It does not
// look at the client's certificate.
func SendLogout(to, token string) (int, error) {
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // of the test's own node
	res, err := (&http.Client{Transport: tr}).PostForm(to, url.Values{"logout_token": {token}})
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

package signature_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/agentpush/signature"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func digest(o *job.Order) signature.Hash {
	var d signature.Digests
	return d.Of(o)
}

// full returns an order in which each field has a value.
func full() job.Order {
	var o job.Order
	fill(reflect.ValueOf(&o).Elem(), 1)
	return o
}

// fill gives each field of v a value.
func fill(v reflect.Value, n int64) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(noon.Add(time.Duration(n))))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n+int64(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n+1)
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(n))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, name := range []string{"b", "a"} {
			x := reflect.New(v.Type().Elem()).Elem()
			fill(x, n)
			v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), x)
		}
	case reflect.String:
		v.SetString(strings.Repeat("x", int(n%7)+1))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	default:
		v.SetInt(n)
	}
}

// uncovered are the fields of an order that its text has not, and why; and so is Item,
// which is for a queue and goes to no minion.
var uncovered = map[string]string{
	"HoldUntil":   "each hop brings it to the clock of the next one",
	"Task.Minion": "it is in the leaf",
}

// Each field of an order changes what is signed: one that is added to orders has to be
// added to their text (1).
func TestI1_EachFieldIsCovered(t *testing.T) {
	t.Parallel()
	o := full()
	before := digest(&o)
	n := 0
	none := func() {}
	var walk func(path string, v reflect.Value, changed func())
	walk = func(path string, v reflect.Value, changed func()) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i), changed)
			}
			return
		case v.Kind() == reflect.Pointer:
			walk(path, v.Elem(), changed)
			return
		case v.Kind() == reflect.Slice:
			walk(path+"[0]", v.Index(0), changed)
			walk(path+"[1]", v.Index(1), changed)
			return
		case v.Kind() == reflect.Map:
			for _, k := range v.MapKeys() {
				x := reflect.New(v.Type().Elem()).Elem()
				x.Set(v.MapIndex(k))
				walk(path+"["+k.String()+"]", x, func() { v.SetMapIndex(k, x) })
			}
			return
		}
		n++
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.String:
			v.SetString(v.String() + "y")
		default:
			fill(v, 100)
		}
		changed()
		_, exempt := uncovered[path]
		if exempt = exempt || strings.HasPrefix(path, "Item."); (digest(&o) == before) != exempt {
			t.Errorf("%s: it is covered where it is not to be, or the other way round", path)
		}
		v.Set(was)
		changed()
		if digest(&o) != before {
			t.Fatalf("%s was not put back", path)
		}
	}
	walk("", reflect.ValueOf(&o).Elem(), none)
	if n < 50 {
		t.Errorf("only %d fields were looked at", n)
	}
}

// Each field of a question and of a cancel changes what is signed, and none of the two is
// the other, nor an order (1).
func TestI1_QuestionsAndCancelsAreCovered(t *testing.T) {
	t.Parallel()
	var ref job.Ref
	fill(reflect.ValueOf(&ref).Elem(), 1)
	var d signature.Digests
	texts := map[signature.Hash]string{}
	add := func(what string, sum signature.Hash) {
		t.Helper()
		if other, there := texts[sum]; there {
			t.Errorf("%s has the text of %s", what, other)
		}
		texts[sum] = what
	}
	add("a question", d.OfQuestion(&ref))
	add("a cancel", d.OfCancel(&ref, ""))
	add("a cancel with a reason", d.OfCancel(&ref, "x"))
	add("an order", d.Of(&job.Order{Task: ref.Task, Shard: ref.Shard, Token: ref.Token, Term: ref.Term}))
	for what, change := range map[string]func(*job.Ref){
		"job": func(r *job.Ref) { r.Task.Fire.Job[0]++ }, "instant": func(r *job.Ref) { r.Task.Fire.At++ },
		"trigger": func(r *job.Ref) { r.Task.Fire.Trigger++ }, "share": func(r *job.Ref) { r.Task.Fire.Share++ },
		"attempt": func(r *job.Ref) { r.Task.Attempt++ }, "shard": func(r *job.Ref) { r.Shard++ },
		"epoch": func(r *job.Ref) { r.Token.Epoch++ }, "revision": func(r *job.Ref) { r.Token.Revision++ }, "term": func(r *job.Ref) { r.Term++ },
	} {
		other := ref
		change(&other)
		add("a question of another "+what, d.OfQuestion(&other))
		add("a cancel of another "+what, d.OfCancel(&other, ""))
	}
	c := newCluster(t)
	b, err := signerOf(c.cert).Sign([]signature.Hash{signature.LeafOf(d.OfQuestion(&ref), "m1")})
	if err != nil {
		t.Fatal(err)
	}
	p := b.Proof(0)
	check := signature.NewChecker("m1", c.node)
	check.Learn(c.cert.Certificate[:1])
	if node, err := check.CheckQuestion(&ref, p.Wire(), noon); node != "n1" || err != nil {
		t.Errorf("the question: %q, %v", node, err)
	}
	if _, err := check.CheckCancel(&ref, "", p.Wire(), noon); err == nil || !strings.Contains(err.Error(), "is not for this cancel on this minion") {
		t.Errorf("a cancel by the signature of a question: %v", err)
	}
	if _, err := check.CheckCancel(&ref, "", nil, noon); !errors.Is(err, signature.ErrUnsigned) {
		t.Errorf("a cancel without a signature: %v", err)
	}
}

// The text stays what it is from release to release (6), and on its way to the minion.
func TestI6_TheTextIsFixed(t *testing.T) {
	t.Parallel()
	small := job.Order{Command: []string{"true"}, Key: job.Key{Namespace: "ops", Name: "x"}, NotAfter: noon}
	all := full()
	for name, c := range map[string]struct {
		order job.Order
		want  string
	}{
		"small": {small, "21a718045d3e92b36aa7df41d1d9459108d5ad84f48fed0e5e5ff42b47b29ddf"},
		"full":  {all, "dabc2fa51ad5fb46a83dc970f0672894f74d640a044ed2777515271b066deecc"},
	} {
		sum := digest(&c.order)
		if got := hex.EncodeToString(sum[:]); got != c.want {
			t.Errorf("%s: the digest is %s, want %s: orders that are signed by another release are refused", name, got, c.want)
		}
	}
	// Other lists and maps of the same words are another order.
	a, b := small, small
	a.Command, b.Command = []string{"ab", "c"}, []string{"a", "bc"}
	if digest(&a) == digest(&b) {
		t.Error("words that are divided otherwise make the same text")
	}
	a, b = small, small
	a.Env, b.Env = map[string]string{"A": "1", "B": "2"}, map[string]string{"B": "2", "A": "1"}
	if digest(&a) != digest(&b) {
		t.Error("the order of a map changes the text")
	}
	all.Secrets = map[string]job.OrderSecret{"S": {Secret: &job.SecretRef{File: "/x"}, Mask: true}, "V": {Value: "v"}}
	all.Task.Fire.Trigger = job.TriggerManual
	wire, err := proto.Marshal(agentpb.FromOrder(&all))
	if err != nil {
		t.Fatal(err)
	}
	var w agentpb.Order
	if err := proto.Unmarshal(wire, &w); err != nil {
		t.Fatal(err)
	}
	came, err := agentpb.ToOrder(&w, "")
	if err != nil {
		t.Fatal(err)
	}
	if digest(&came) != digest(&all) {
		t.Errorf("the order that came is another one:\n%+v\n%+v", came, all)
	}
}

// cluster is an authority and a node.
type cluster struct {
	ca   *auth.Authority
	cert *tls.Certificate
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	ca, err := auth.NewAuthority("test", noon)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueNode("n1", nil, 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{ca, cert}
}

func (c *cluster) node(der []byte, at time.Time) (*x509.Certificate, job.NodeID, error) {
	return auth.NodeOf(c.ca.Certificate(), der, at)
}

// minion returns the certificate of a minion.
func (c *cluster) minion(t testing.TB, id job.MinionID) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	csr, err := auth.NewRequest(id, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := c.ca.SignMinion(csr, id, 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func signerOf(cert *tls.Certificate) *signature.Signer {
	return signature.NewSigner(func() (*tls.Certificate, error) { return cert, nil })
}

// signed signs an order for some minions.
func signed(t testing.TB, cert *tls.Certificate, o *job.Order, minions ...job.MinionID) []*agentpb.Signature {
	t.Helper()
	var leaves []signature.Hash
	for _, m := range minions {
		leaves = append(leaves, signature.LeafOf(digest(o), m))
	}
	b, err := signerOf(cert).Sign(leaves)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*agentpb.Signature, len(minions))
	for i := range out {
		p := b.Proof(i)
		out[i] = p.Wire()
	}
	return out
}

// An order is good for its minion as it was signed, by a node of the cluster, and not
// otherwise (1 to 5).
func TestI2_I5_WhatIsRefused(t *testing.T) {
	t.Parallel()
	c, other := newCluster(t), newCluster(t)
	o := job.Order{Command: []string{"/bin/true"}, User: "deploy", Subject: "ada", Author: "bob", NotAfter: noon.Add(time.Minute)}
	good := signed(t, c.cert, &o, "m0", "m1", "m2")[1]
	api, err := c.ca.IssueServer("n1", []string{auth.ServerName}, 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	endless := o
	endless.NotAfter = time.Time{}
	changed := func(change func(*agentpb.Signature)) *agentpb.Signature {
		s := proto.CloneOf(good)
		change(s)
		return s
	}
	for name, x := range map[string]struct {
		order     func(*job.Order)
		signature *agentpb.Signature
		minion    job.MinionID
		at        time.Duration
		want      string
	}{
		"as it was signed":                   {want: ""},
		"a week later":                       {at: 8 * 24 * time.Hour, want: "expired"},
		"for another minion":                 {minion: "m2", want: "is not for this order on this minion"},
		"another command":                    {order: func(o *job.Order) { o.Command = []string{"/bin/false"} }, want: "is not for this order"},
		"another account":                    {order: func(o *job.Order) { o.User = "root" }, want: "is not for this order"},
		"another subject":                    {order: func(o *job.Order) { o.Subject = "mallory" }, want: "is not for this order"},
		"a later end":                        {order: func(o *job.Order) { o.NotAfter = o.NotAfter.Add(1) }, want: "is not for this order"},
		"nothing":                            {signature: &agentpb.Signature{}, want: signature.ErrUnsigned.Error()},
		"the signature of another place":     {signature: changed(func(s *agentpb.Signature) { s.Place = 0 }), want: "is not for this order"},
		"a place beyond":                     {signature: changed(func(s *agentpb.Signature) { s.Place = 3 }), want: "malformed"},
		"fewer orders than were signed":      {signature: changed(func(s *agentpb.Signature) { s.Count, s.Path = 2, s.GetPath()[:32] }), want: "is not for this order"},
		"a path that is too long":            {signature: changed(func(s *agentpb.Signature) { s.Path = append(s.Path, make([]byte, 32)...) }), want: "malformed"},
		"a path that is too short":           {signature: changed(func(s *agentpb.Signature) { s.Path = s.GetPath()[:31] }), want: "malformed"},
		"another signature":                  {signature: changed(func(s *agentpb.Signature) { s.Signature = []byte("x") }), want: "is not for this order"},
		"a signer that nobody told of":       {signature: changed(func(s *agentpb.Signature) { s.Signer = []byte("x") }), want: "was not told"},
		"by a minion":                        {signature: signed(t, c.minion(t, "m2"), &o, "m1")[0], want: "no node's of this cluster"},
		"by the certificate of the API":      {signature: signed(t, api, &o, "m1")[0], want: "no node's of this cluster"},
		"by a node of another cluster":       {signature: signed(t, other.cert, &o, "m1")[0], want: "no node's of this cluster"},
		"an order that has no end":           {order: func(o *job.Order) { *o = endless }, signature: signed(t, c.cert, &endless, "m1")[0], want: "has no end"},
		"what was signed when a lease began": {order: func(o *job.Order) { o.HoldUntil = time.Hour }, want: ""},
	} {
		check := signature.NewChecker("m1", c.node)
		if x.minion != "" {
			check = signature.NewChecker(x.minion, c.node)
		}
		check.Learn([][]byte{c.cert.Certificate[0], other.cert.Certificate[0], api.Certificate[0], []byte("garbage")})
		if x.signature == nil {
			x.signature = good
		}
		if name == "by a minion" {
			mallory := c.minion(t, "m2")
			x.signature = signed(t, mallory, &o, "m1")[0]
			check.Learn(mallory.Certificate[:1])
		}
		order := o
		if x.order != nil {
			x.order(&order)
		}
		node, err := check.Check(&order, x.signature, noon.Add(x.at))
		if x.want == "" && (err != nil || node != "n1") || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: signed by %q, %v; want %q", name, node, err, x.want)
		}
		if (name == "nothing") != errors.Is(err, signature.ErrUnsigned) {
			t.Errorf("%s: counts as unsigned: %v", name, err)
		}
	}
}

// Each of any number of orders is good at its place, and at no other.
func TestEachPlaceOfATree(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	o := job.Order{Command: []string{"/bin/true"}, NotAfter: noon}
	check := signature.NewChecker("m", c.node)
	check.Learn(c.cert.Certificate[:1])
	for n := 1; n <= 11; n++ {
		for place := range n {
			minions := make([]job.MinionID, n)
			minions[place] = "m"
			all := signed(t, c.cert, &o, minions...)
			for at, s := range all {
				if _, err := check.Check(&o, s, noon); (err == nil) != (at == place) {
					t.Fatalf("place %d of %d, for the order at %d: %v", at, n, place, err)
				}
			}
		}
	}
}

// What a peer makes again of a fan is what its owner has signed.
func TestRestored(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	o := job.Order{Command: []string{"/bin/true"}, NotAfter: noon}
	leaves := []signature.Hash{signature.LeafOf(digest(&o), "a"), signature.LeafOf(digest(&o), "m"), signature.LeafOf(digest(&o), "z")}
	b, err := signerOf(c.cert).Sign(leaves)
	if err != nil {
		t.Fatal(err)
	}
	root := b.Root()
	p := signature.Restored(b.By(), root.GetSignature(), leaves).Proof(1)
	check := signature.NewChecker("m", c.node)
	check.Learn([][]byte{p.By().DER})
	if _, err := check.Check(&o, p.Wire(), noon); err != nil {
		t.Error(err)
	}
	if got, err := signerOf(c.cert).Sign(nil); got != nil || err != nil {
		t.Errorf("nothing is signed as %v, %v", got, err)
	}
}

package configs

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/job"
)

var update = flag.Bool("update", false, "write the example files anew")

// load reads settings of a file, an environment and a command line.
func load(t *testing.T, file string, environ, args []string) (Scheduler, Sources, error) {
	t.Helper()
	fs := pflag.NewFlagSet("scheduler", pflag.ContinueOnError)
	SchedulerFlags(fs)
	if file != "" {
		args = append(args, "--config", "node.yaml")
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return LoadScheduler(Args{Flags: fs, Environ: environ, ReadFile: func(name string) ([]byte, error) {
		if name != "node.yaml" {
			return nil, fmt.Errorf("open %s: %w", name, os.ErrNotExist)
		}
		return []byte(file), nil
	}})
}

func TestNothingGivenIsTheDefault(t *testing.T) {
	t.Parallel()
	got, sources, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultScheduler(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(sources) != 0 {
		t.Errorf("sources are %v, want none", sources)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	file := "priority: 1\ncapacity: 2\nsite: file\nlookAhead: 200ms\netcd:\n  endpoints: [http://a:1]\n"
	environ := []string{"CARILLON_CAPACITY=3", "CARILLON_SITE=env", "CARILLON_ETCD_ENDPOINTS=http://b:1,http://c:1", "HOME=/root", "CARILLON_LEASE_TTL=7s"}
	got, sources, err := load(t, file, environ, []string{"--site", "flag", "--open-api", "--history-per-job=9"})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultScheduler()
	want.Priority, want.Capacity, want.Site, want.LookAhead = 1, 3, "flag", 200*time.Millisecond
	want.Etcd.Endpoints, want.LeaseTTL = []string{"http://b:1", "http://c:1"}, 7*time.Second
	want.Etcd.Given, want.OpenAPI, want.History.PerJob = true, true, 9
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	wantSources := Sources{
		"priority": {"node.yaml", 1, 11}, "capacity": {"CARILLON_CAPACITY", 0, 0}, "site": {"--site", 0, 0}, "lookAhead": {"node.yaml", 4, 12},
		"etcd.endpoints": {"CARILLON_ETCD_ENDPOINTS", 0, 0}, "leaseTTL": {"CARILLON_LEASE_TTL", 0, 0},
		"openAPI": {"--open-api", 0, 0}, "history.perJob": {"--history-per-job", 0, 0},
	}
	if diff := cmp.Diff(wantSources, sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		env  []string
		args []string
		want []string
	}{
		"all at once": {
			file: "capactiy: 2\npriority: high\netcd:\n  endpoint: [http://a:1]\nlookAhead: 1h\n",
			env:  []string{"CARILLON_SHARDS=many", "CARILLON_ETCD_ENDPOINT=http://b:1"},
			args: []string{"--listen", "0.0.0.0:8420"},
			want: []string{
				"node.yaml:1:1: capactiy: is not a setting; did you mean capacity?",
				"node.yaml:4:3: etcd.endpoint: is not a setting; did you mean etcd.endpoints?",
				"CARILLON_ETCD_ENDPOINT: is not a setting; did you mean CARILLON_ETCD_ENDPOINTS?",
				"node.yaml:2:11: priority: high is not a whole number",
				"CARILLON_SHARDS: shards: many is not a whole number",
				`--listen: listen: "0.0.0.0:8420" is reachable from other hosts, and until the cluster is closed (carillon auth on), whoever reaches it may run commands; listen on 127.0.0.1, or allow it with --open-api`,
				"node.yaml:5:12: lookAhead: 1h0m0s is out of range; 50ms to 10s are allowed",
			},
		},
		"open":                 {args: []string{"--listen", "0.0.0.0:8420", "--peer-listen", ":7420", "--open-api"}},
		"open and insecure":    {args: []string{"--listen", ":8420", "--open-api", "--insecure"}, want: []string{`--listen: listen: ":8420" is reachable from other hosts, and with --insecure the cluster has no authority that makes its certificate; give --api-cert and --api-key, or leave --insecure out`}},
		"open with a file":     {args: []string{"--listen", ":8420", "--open-api", "--insecure", "--api-cert", "a", "--api-key", "b"}},
		"plain beyond":         {args: []string{"--listen", ":8420", "--open-api", "--api-plain"}, want: []string{`--listen: listen: ":8420" is reachable from other hosts, and --api-plain is for loopback only; leave it out, and the API speaks TLS`}},
		"plain with a file":    {args: []string{"--api-plain", "--api-cert", "a", "--api-key", "b"}, want: []string{"--api-plain: apiPlain: there is no certificate by plain HTTP; leave out --api-plain, or --api-cert and --api-key"}},
		"half of a pair":       {args: []string{"--api-key", "x"}, want: []string{"apiCert: apiCert and apiKey belong together; give both, or neither"}},
		"without a host":       {args: []string{"--peer-listen", ":7420", "--insecure"}, want: []string{`--peer-listen: peerListen: ":7420" is reachable from other hosts, and --insecure is for loopback only; leave it out, and minions and peers connect by mutual TLS`}},
		"other capitals":       {file: "datadir: /x\n", want: []string{"node.yaml:1:1: datadir: is not a setting; did you mean dataDir?"}},
		"nothing like it":      {file: "xylophone: 1\n", want: []string{"node.yaml:1:1: xylophone: is not a setting; scheduler --help and configs/scheduler.example.yaml list them"}},
		"outside its section":  {file: "endpoints: []\n", want: []string{"node.yaml:1:1: endpoints: is not a setting; did you mean etcd.endpoints?"}},
		"a section as a value": {file: "etcd: http://a:1\n", want: []string{`node.yaml:1:7: etcd: holds settings, as in "name: value"`}},
		"an empty section":     {file: "etcd:\n"},
		"an empty file":        {file: "# nothing\n"},
		"twice":                {file: "site: a\nsite: b\n", want: []string{"node.yaml:2:1: site: is given twice; it is in line 1 too"}},
		"no value":             {file: "site:\n", want: []string{"node.yaml:1:6: site: has no value; give one, or leave the line out"}},
		"not YAML":             {file: "site: [\n", want: []string{"node.yaml:1: this is not YAML: did not find expected node content"}},
		"no unit":              {file: "leaseTTL: 5\n", want: []string{`node.yaml:1:11: leaseTTL: 5 is not a duration with its unit, such as "300ms" or "1m30s"`}},
		"no such file":         {args: []string{"--config", "other.yaml"}, want: []string{"other.yaml: cannot be read: open other.yaml: file does not exist"}},
		"file by variable":     {env: []string{"CARILLON_CONFIG=other.yaml"}, want: []string{"other.yaml: cannot be read: open other.yaml: file does not exist"}},
		"others' variables":    {env: []string{"CARILLON_SERVER=http://a", "CARILLON_FIRE_ID=x", "CARILLON_UNHEARD_OF=1"}},
		"half a certificate":   {args: []string{"--etcd-cert", "x"}, want: []string{"--etcd-cert: etcd.cert: etcd.cert and etcd.key belong together; give both, or neither", `etcd.endpoints: "http://127.0.0.1:2379" is not encrypted, though certificates are given; begin it with https://`}},
		"no endpoint":          {env: []string{"CARILLON_ETCD_ENDPOINTS="}, want: []string{"CARILLON_ETCD_ENDPOINTS: etcd.endpoints: is empty; give endpoints, or --embedded-etcd"}},
		"empty texts": {
			file: "socket: \"\"\nadvertise: ''\nsite: ''\netcd: {ca: \"\"}\n", env: []string{"CARILLON_MIN_MINION_VERSION="}, args: []string{"--etcd-cert=", "--etcd-key="},
			want: []string{
				"node.yaml:1:9: socket: is empty; leave it out for carillon.sock in the data directory, or give none for no socket",
				"node.yaml:2:12: advertise: is empty; leave it out for the address that it listens on",
				"node.yaml:4:12: etcd.ca: is empty; leave it out for the certificates of the host",
				"--etcd-cert: etcd.cert: is empty; leave it out, and the node shows etcd no certificate",
				"--etcd-key: etcd.key: is empty; leave it out, and the node shows etcd no certificate",
				"CARILLON_MIN_MINION_VERSION: minMinionVersion: is empty; leave it out, and no minion is too old",
			},
		},
		"bare endpoint":    {args: []string{"--etcd-endpoints", "127.0.0.1:2379"}, want: []string{`--etcd-endpoints: etcd.endpoints: "127.0.0.1:2379" is not an endpoint; give one as in http://127.0.0.1:2379 or unix:///var/lib/etcd.sock`}},
		"a socket":         {args: []string{"--etcd-endpoints", "unix:///var/lib/carillon/scheduler/etcd/client.sock"}},
		"half of a user":   {args: []string{"--etcd-user", "carillon"}, want: []string{"--etcd-user: etcd.user: etcd.user and etcd.passwordFile belong together; give both, or neither"}},
		"a bare password":  {args: []string{"--etcd-endpoints", "http://etcd1:2379", "--etcd-user", "a", "--etcd-password-file", "b"}, want: []string{`--etcd-endpoints: etcd.endpoints: "http://etcd1:2379" is not encrypted, and others could read the password of the user; begin it with https://`}},
		"a user":           {args: []string{"--etcd-endpoints", "https://etcd1:2379,http://127.0.0.1:2379", "--etcd-user", "a", "--etcd-password-file", "b"}},
		"a seal key":       {args: []string{"--seal-key-file", "seal.key"}, want: []string{`--seal-key-file: sealKeyFile: "seal.key" is not an absolute path; give one as in /etc/carillon/seal.key`}},
		"a socket nowhere": {args: []string{"--etcd-endpoints", "unix://client.sock"}, want: []string{`--etcd-endpoints: etcd.endpoints: "unix://client.sock" is not an endpoint; give one as in http://127.0.0.1:2379 or unix:///var/lib/etcd.sock`}},
		"log":              {args: []string{"--log-level", "loud"}, want: []string{`--log-level: log.level: "loud" is not known; debug, info, warn, error are allowed`}},
		"odd labels": {
			env: []string{"CARILLON_LABELS=site=a,a b=c,x=1=2"},
			want: []string{
				`CARILLON_LABELS: labels: the label "site" is built in; give --site`,
				`CARILLON_LABELS: labels: a b: the key "a b" contains " "; allowed are letters a-z, A-Z, digits, '.', '_' and '-'`,
				`CARILLON_LABELS: labels: x: the value "1=2" contains "="; commas, '=' and control characters are not allowed (annotations take any text)`,
			},
		},
		"no label":             {env: []string{"CARILLON_LABELS=rack"}, want: []string{"CARILLON_LABELS: labels: rack is not labels, such as {rack: r1} in a file and rack=r1,disk=ssd elsewhere"}},
		"a number of labels":   {file: "labels: 3\n", want: []string{"node.yaml:1:9: labels: 3 is not labels, such as {rack: r1} in a file and rack=r1,disk=ssd elsewhere"}},
		"an identity provider": {args: []string{"--oidc-issuer", "https://login.example.org/realms/main", "--oidc-client-id", "carillon", "--oidc-redirect-base", "https://Carillon.example.org:8420/", "--api-host", "carillon.example.org"}},
		"one on loopback":      {args: []string{"--oidc-issuer", "http://127.0.0.1:1", "--oidc-client-id", "c", "--oidc-redirect-base", "http://localhost:8420", "--oidc-groups-claim", "", "--api-plain"}},
		"one asked plainly": {
			args: []string{"--oidc-issuer", "http://127.0.0.1:1", "--oidc-client-id", "c", "--oidc-redirect-base", "http://localhost:8420"},
			want: []string{`--oidc-redirect-base: oidc.redirectBase: "http://localhost:8420" is asked by plain HTTP, and the page speaks TLS; give https://localhost:8420`},
		},
		"half an identity provider": {
			args: []string{"--oidc-client-id", "c", "--oidc-client-secret-file", "f", "--oidc-redirect-base", "x"},
			want: []string{
				"--oidc-client-id: oidc.clientID: has no effect without an identity provider; give oidc.issuer (--oidc-issuer) too",
				"--oidc-client-secret-file: oidc.clientSecretFile: has no effect without an identity provider; give oidc.issuer (--oidc-issuer) too",
				"--oidc-redirect-base: oidc.redirectBase: has no effect without an identity provider; give oidc.issuer (--oidc-issuer) too",
			},
		},
		"a bad identity provider": {
			args: []string{"--oidc-issuer", "http://login.example.org", "--oidc-redirect-base", "https://carillon.example.org:8420", "--oidc-scope", "a b", "--oidc-user-claim", "", "--oidc-session-max-age", "48h"},
			want: []string{
				"--oidc-session-max-age: oidc.sessionMaxAge: 48h0m0s is out of range; 5m0s to 24h0m0s are allowed",
				"--oidc-user-claim: oidc.userClaim: is empty; give the claim of the ID token that people are called by, as in email or sub",
				`--oidc-scope: oidc.scopes: "a b" is no scope; give one name each, without blanks`,
				`--oidc-issuer: oidc.issuer: "http://login.example.org" is not the name of an identity provider; give the URL that it calls itself, as in https://login.example.org/realms/main; http is for loopback only`,
				"oidc.clientID: is not given; give the client's id, as the identity provider has it (--oidc-client-id)",
				`--oidc-redirect-base: oidc.redirectBase: the node refuses requests for the name "carillon.example.org"; give it as --api-host too`,
			},
		},
		"a bad place for the page": {
			args: []string{"--oidc-issuer", "https://login.example.org", "--oidc-client-id", "c", "--oidc-redirect-base", "https://127.0.0.1:8420/page"},
			want: []string{`--oidc-redirect-base: oidc.redirectBase: "https://127.0.0.1:8420/page" is not where browsers reach the page; give scheme, name and port, as in https://carillon.example.org:8420; http is for loopback only`},
		},
		"one port for both": {args: []string{"--peer-listen", "127.0.0.1:8420"}, want: []string{`--peer-listen: peerListen: "127.0.0.1:8420" is the address of listen too; give another`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(t, c.file, c.env, c.args)
			var got []string
			if bad := (*job.InvalidError)(nil); errors.As(err, &bad) {
				for _, p := range bad.Problems {
					got = append(got, p.String())
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Labels are replaced as a whole, and keep their capitals.
func TestLabels(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		env  []string
		args []string
		want map[string]string
	}{
		"file":            {file: "labels:\n  Rack: r1\n  disk: 7\n  a.b/c: d\n", want: map[string]string{"Rack": "r1", "disk": "7", "a.b/c": "d"}},
		"list in a file":  {file: "labels: [rack=r1, disk=ssd]\n", want: map[string]string{"rack": "r1", "disk": "ssd"}},
		"none in a file":  {file: "labels: {}\n"},
		"variable":        {file: "labels: {rack: r1}\n", env: []string{"CARILLON_LABELS=Disk=ssd,x="}, want: map[string]string{"Disk": "ssd", "x": ""}},
		"empty variable":  {file: "labels: {rack: r1}\n", env: []string{"CARILLON_LABELS="}},
		"flags":           {env: []string{"CARILLON_LABELS=rack=r1"}, args: []string{"--label", "Disk=ssd", "--label=x=1,y=2"}, want: map[string]string{"Disk": "ssd", "x": "1", "y": "2"}},
		"worker variable": {env: []string{"CARILLON_LABEL=rack=r1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := load(t, c.file, c.env, c.args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Labels); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Every field of the struct is a setting, in the order of the struct.
func TestSettingsAreComplete(t *testing.T) {
	t.Parallel()
	var want []string
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, under string) {
		for i := range typ.NumField() {
			tag := typ.Field(i).Tag.Get("mapstructure")
			path := under + tag
			switch tag {
			case "-": // it is no setting
				continue
			case ",squash":
				walk(typ.Field(i).Type, under)
				continue
			}
			if typ.Field(i).Type.Kind() == reflect.Struct {
				walk(typ.Field(i).Type, path+".")
				continue
			}
			want = append(want, path)
		}
	}
	walk(reflect.TypeFor[Scheduler](), "")
	var got []string
	for _, s := range schedulerSettings() {
		got = append(got, s.path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-fields +table):\n%s", diff)
	}
}

func TestExampleIsTheDefault(t *testing.T) {
	t.Parallel()
	const path = "scheduler.example.yaml"
	text, err := ExampleScheduler()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil { // for everybody to read
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(committed)); diff != "" {
		t.Errorf("%s is not current; make generate (-want +got):\n%s", path, diff)
	}
	got, _, err := load(t, string(committed), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultScheduler(), got); diff != "" {
		t.Errorf("settings of the example (-want +got):\n%s", diff)
	}
	for _, s := range schedulerSettings() {
		if name := s.path[strings.LastIndexByte(s.path, '.')+1:] + ":"; !strings.Contains(string(committed), name) {
			t.Errorf("%s is not in the example", s.path)
		}
	}
}

// The help shows no default that is empty.
func TestHelpShowsNoEmptyDefault(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("scheduler", pflag.ContinueOnError)
	SchedulerFlags(fs)
	if text := fs.FlagUsages(); strings.Contains(text, "default []") || strings.Contains(text, "default )") {
		t.Errorf("in the help:\n%s", text)
	}
}

// The first words in backquotes of a usage stand for the value in the help.
func TestUsagesQuotePlaceholders(t *testing.T) {
	t.Parallel()
	placeholder := regexp.MustCompile("^[^`]*(`[]A-Z0-9:=/[.-]+`)?[^`]*$")
	for _, s := range schedulerSettings() {
		if !placeholder.MatchString(s.usage) {
			t.Errorf("--%s: %s: the first words in backquotes are to be a placeholder, such as `NAME`, and the only ones", s.flag, s.usage)
		}
	}
}

// Each setting that has a flag can be given by it, whatever its type.
func TestFlagsOfSettingsAreThere(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("scheduler", pflag.ContinueOnError)
	SchedulerFlags(fs)
	for _, s := range schedulerSettings() {
		if s.flag != "" && fs.Lookup(s.flag) == nil {
			t.Errorf("there is no flag --%s", s.flag)
		}
	}
}

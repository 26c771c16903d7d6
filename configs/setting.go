package configs

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// setting is one setting of a node.
type setting struct {
	// path is where it lies in the struct and in a file: "etcd.endpoints".
	path string
	// flag is its flag; empty: it has none.
	flag string
	// usage says what it is, for help and for the example file.
	usage string
	// example is shown when the default differs from host to host.
	example string
	// unset says what to write in place of an empty text, which would be taken for
	// the default; empty: an empty text means just that, or is refused as it is.
	unset string
}

// schedulerSettings lists the settings in the order of the example file.
func schedulerSettings() []setting {
	return []setting{
		{path: "node", flag: "node", usage: "name of this node, unique in the cluster (default: the host name)", example: "node1"},
		{path: "site", flag: "site", usage: "site (zone) of this node"},
		{path: "priority", flag: "priority", usage: "priority of this node; higher goes first"},
		{path: "capacity", flag: "capacity", usage: "relative weight of this node for balanced shards"},
		{path: "labels", flag: "label", usage: "label of this node that groups pin and spread by, as `KEY=VALUE`; may be given several times", example: "{rack: r1, disk: ssd}"},
		{path: "dataDir", flag: "data-dir", usage: "directory for this node's data", example: "/var/lib/carillon/scheduler"},
		{path: "listen", flag: "listen", usage: "address of the API and the page"},
		{path: "apiHosts", flag: "api-host", usage: "`NAME` or address by which clients may ask the API, besides loopback, --listen and --advertise; others are refused; may be given several times", example: "[carillon.example.org]"},
		{path: "apiCert", flag: "api-cert", usage: "`FILE` with the certificate of the API and the page, in PEM, read again when it changes (default: a certificate of the cluster's authority)", example: "/etc/carillon/api.pem", unset: "leave it out for a certificate of the cluster's authority"},
		{path: "apiKey", flag: "api-key", usage: "`FILE` with the key of that certificate", example: "/etc/carillon/api.key", unset: "leave it out, together with apiCert"},
		{path: "apiPlain", flag: "api-plain", usage: "let the API and the page speak plain HTTP, on loopback addresses only: for a proxy on this host that speaks TLS in front of them, and for tests; other programs of this host can then pose as the node, and be sent the tokens of those who ask"},
		{path: "peerListen", flag: "peer-listen", usage: "address for minions and peers"},
		{path: "socket", flag: "socket", usage: "local socket of the API, for this account, root and the file's group; none for no socket (default: carillon.sock in the data directory)", example: "/run/carillon/carillon.sock", unset: "leave it out for carillon.sock in the data directory, or give none for no socket"},
		{path: "advertise", flag: "advertise", usage: "host name or IP under which others reach this node (default: as it listens)", example: "node1.example.org", unset: "leave it out for the address that it listens on"},
		{path: "etcd.endpoints", flag: "etcd-endpoints", usage: "endpoints of etcd; unix:///PATH for a socket on this host"},
		{path: "etcd.prefix", flag: "etcd-prefix", usage: "prefix of all keys in etcd"},
		{path: "etcd.dialTimeout", usage: "how long to wait for a connection to etcd"},
		{path: "etcd.ca", flag: "etcd-ca", usage: "file with the certificates that etcd's certificate is checked against (default: the host's)", example: "/etc/carillon/etcd-ca.pem", unset: "leave it out for the certificates of the host"},
		{path: "etcd.cert", flag: "etcd-cert", usage: "file with this node's certificate for etcd", example: "/etc/carillon/etcd-node1.pem", unset: "leave it out, and the node shows etcd no certificate"},
		{path: "etcd.key", flag: "etcd-key", usage: "file with the key of that certificate", example: "/etc/carillon/etcd-node1.key", unset: "leave it out, and the node shows etcd no certificate"},
		{path: "etcd.user", flag: "etcd-user", usage: "`NAME` of this cluster's user in etcd, where etcd asks for one; carillon doctor --etcd-role prints the role that it needs", example: "carillon", unset: "leave it out where etcd asks for no user, or takes the name in the certificate"},
		{path: "etcd.passwordFile", flag: "etcd-password-file", usage: "`FILE` with the password of that user", example: "/etc/carillon/etcd-password", unset: "leave it out, together with etcd.user"},
		{path: "sealKeyFile", flag: "seal-key-file", usage: "`FILE` with the keys that seal what the cluster keeps of its own in etcd, 0600, the same on all nodes, read again when it changes; it is made where nobody has one (default: seal.key in the data directory, made with --embedded-etcd only)", example: "/etc/carillon/seal.key", unset: "leave it out for seal.key in the data directory"},
		{path: "embeddedEtcd", flag: "embedded-etcd", usage: "run etcd inside this process (one-node start), behind the socket etcd/client.sock in the data directory"},
		{path: "clusterInit", flag: "cluster-init", usage: "make this the first node of a cluster that keeps its data itself: etcd runs inside the nodes, and others come by --join; a node of --embedded-etcd becomes one, too"},
		{path: "join", flag: "join", usage: "`HOST:PORT` of a node of such a cluster, its port for minions and peers: this node joins it; it finds back by itself once it has", example: "node1.example.org:7420", unset: "leave it out, and the node goes on with what is in its data directory"},
		{path: "joinTokenFile", flag: "join-token-file", usage: "`FILE` with the token to join by, from carillon nodes token; needed once", example: "/etc/carillon/node-token", unset: "leave it out once the node has joined"},
		{path: "joinToken", flag: "join-token", usage: "the `TOKEN` itself: every account of this host can read it here, so give it by --join-token-file or CARILLON_JOIN_TOKEN", example: "ID.SECRET.CAHASH", unset: "leave it out once the node has joined"},
		{path: "etcdListen", flag: "etcd-listen", usage: "where the etcd inside this node listens for other nodes, with --cluster-init and --join (default: the host of --peer-listen, port 7479)", example: "\":7479\"", unset: "leave it out for port 7479"},
		{path: "etcdPeerListen", flag: "etcd-peer-listen", usage: "where it listens for other members (default: the host of --peer-listen, port 7480)", example: "\":7480\"", unset: "leave it out for port 7480"},
		{path: "etcdHeartbeat", flag: "etcd-heartbeat", usage: "how often the member that leads says that it lives; the same on all nodes; carillon doctor works it out from the round trips between members"},
		{path: "etcdElection", flag: "etcd-election", usage: "how long the others wait for that before they elect another; at least five heartbeats, and at most half of --lease-ttl"},
		{path: "witness", flag: "witness", usage: "be a member that only votes, with --join: hold no shards, and have minions not told of this node"},
		{path: "shards", flag: "shards", usage: fmt.Sprintf("number of shards of a new cluster; fixed when it is made (0: %d for a new cluster, its own for another)", DefaultShards)},
		{path: "leaseTTL", flag: "lease-ttl", usage: "how long this node's lease lives without renewal"},
		{path: "lookAhead", flag: "look-ahead", usage: "how long before its instant a fire is committed"},
		{path: "tick", usage: "how often a shard commits what is due"},
		{path: "misfireGrace", flag: "misfire-grace", usage: "an occurrence later than this is a misfire"},
		{path: "clockBound", flag: "clock-bound", usage: "how far this node's clock may be off that of most nodes and minions; beyond it, the node neither plans nor holds shards"},
		{path: "maxMessageExpired", flag: "max-message-expired", usage: "the longest that an order may wait for its minion"},
		{path: "history.perJob", flag: "history-per-job", usage: "run records kept per job, of each kind of end: fine, bad, not run"},
		{path: "history.maxBytes", flag: "history-max-bytes", usage: "bytes that all run records may use in etcd"},
		{path: "audit.keep", flag: "audit-keep", usage: "how long records of what people did are kept in etcd; 876000h, which is 100 years, is for ever"},
		{path: "audit.maxBytes", flag: "audit-max-bytes", usage: "bytes that these records may use in etcd: when they are more, the oldest go before their time"},
		{path: "audit.file", flag: "audit-file", usage: "`FILE` that this node exports these records to, as JSON lines (default: none)", example: "/var/log/carillon/audit.jsonl", unset: "leave it out, and they are exported to no file"},
		{path: "audit.syslog", flag: "audit-syslog", usage: "`ADDRESS` of a syslog that this node exports these records to: unix:///dev/log, tcp://HOST:PORT or tls://HOST:PORT (default: none)", example: "unix:///dev/log", unset: "leave it out, and they are exported to no syslog"},
		{path: "connections.minions", flag: "max-minion-connections", usage: "how many connections minions and peers may have open here (0: as the limit of open files allows)"},
		{path: "connections.strangers", flag: "max-strangers", usage: "how many connections without a certificate may be open here (0: derived from the limit of open files)"},
		{path: "connections.perAddress", flag: "max-strangers-per-address", usage: "how many connections without a certificate one address may have open here; raise it where many hosts share an address and join at once (0: a quarter of --max-strangers)"},
		{path: "limits.requestsPerSecond", flag: "max-requests-per-second", usage: "how many requests a second one caller of the API may make here, over time, and twice as many at once: a token, a session of the page, an account of the local socket, or else an address; more get 429"},
		{path: "limits.streams", flag: "max-streams", usage: "how many streams one caller of the API may have open here: events, output, results; more get 429"},
		{path: "minMinionVersion", flag: "min-minion-version", usage: "minions that run a release older than this `VERSION` get no orders (default: none is too old)", example: "1.4.0", unset: "leave it out, and no minion is too old"},
		{path: "insecure", flag: "insecure", usage: "plain connections for minions and peers, and for the API unless it has --api-cert; on loopback addresses only"},
		{path: "openAPI", flag: "open-api", usage: "let the API and the page listen beyond loopback, by TLS; until the cluster is closed (carillon auth on), whoever reaches them may run commands"},
		{path: "access", flag: "access", usage: "how a new cluster begins: closed (who has no right by a role is refused), noting (such requests are answered, and told) or open (everybody who reaches the API may do everything); later carillon auth changes it"},
		{path: "tokenMaxAge", flag: "token-max-age", usage: "the longest that a token of the API may last"},
		{path: "oidc.issuer", flag: "oidc-issuer", usage: "`URL` by which the identity provider calls itself: people log in by it (OpenID Connect; default: by tokens only)", example: "https://login.example.org/realms/main", unset: "leave it out, and nobody logs in by an identity provider"},
		{path: "oidc.clientID", flag: "oidc-client-id", usage: "`ID` of the client that the identity provider knows this cluster as", example: "carillon", unset: "give the client's id"},
		{path: "oidc.clientSecretFile", flag: "oidc-client-secret-file", usage: "`FILE` with the secret of that client, 0600, read each time (default: a client without one)", example: "/etc/carillon/oidc-secret", unset: "leave it out for a client without a secret"},
		{path: "oidc.ca", flag: "oidc-ca", usage: "`FILE` with the certificates that the identity provider's certificate is checked against (default: the host's)", example: "/etc/carillon/idp-ca.pem", unset: "leave it out for the certificates of the host"},
		{path: "oidc.scopes", flag: "oidc-scope", usage: "`SCOPE` that is asked for besides openid; may be given several times"},
		{path: "oidc.userClaim", flag: "oidc-user-claim", usage: "`CLAIM` that people are called by; email counts only where the provider says that it is verified"},
		{path: "oidc.groupsClaim", flag: "oidc-groups-claim", usage: "`CLAIM` with the groups that role bindings name; parts of a path are divided by dots, as in realm_access.roles; empty: there are none"},
		{path: "oidc.redirectBase", flag: "oidc-redirect-base", usage: "`URL` at which browsers reach the page; the identity provider has to allow URL/login/callback", example: "https://carillon.example.org:8420", unset: "give where browsers reach the page"},
		{path: "oidc.sessionMaxAge", flag: "oidc-session-max-age", usage: "how long a login by the identity provider lasts, at most a day"},
		{path: "egress.allow", flag: "egress-allow", usage: "`HOST` that receivers of alerts and other addresses that people choose may be on: a name, *.NAME, an address or a range; may be given several times; nothing else is called then; loopback and link-local are called only where an address or a narrow range names them (default: everything else)", example: "[hooks.example.org, 10.0.0.0/8]"},
		{path: "egress.ca", flag: "egress-ca", usage: "`FILE` with certificates that theirs are checked against besides the host's", example: "/etc/carillon/receivers-ca.pem", unset: "leave it out for the certificates of the host alone"},
		{path: "notify.secretsDir", flag: "notify-secrets-dir", usage: "`DIR` with the secrets of receivers of alerts (kind: Notifier), each in a file DIR/NAMESPACE/NAME that not every account may use (default: notify-secrets in the data directory)", example: "/etc/carillon/notify-secrets", unset: "leave it out for notify-secrets in the data directory"},
		{path: "log.level", flag: "log-level", usage: "debug, info, warn or error"},
		{path: "log.format", flag: "log-format", usage: "console or json"},
	}
}

// kinds says what a value of a type looks like.
func (s setting) kind(v any) string {
	switch v.(type) {
	case int, int64:
		return "a whole number"
	case bool:
		return "true or false"
	case time.Duration:
		return `a duration with its unit, such as "300ms" or "1m30s"`
	case []string:
		return "a list of texts"
	case map[string]string:
		return "labels, such as {rack: r1} in a file and rack=r1,disk=ssd elsewhere"
	}
	return "a text"
}

// SchedulerFlags registers a node's flags.
func SchedulerFlags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.String("config", "", "read settings from this YAML file")
	defaults := DefaultScheduler()
	for _, s := range schedulerSettings() {
		if s.flag == "" {
			continue
		}
		switch v := field(reflect.ValueOf(&defaults).Elem(), s.path).Interface().(type) {
		case string:
			fs.String(s.flag, v, s.usage)
		case int:
			fs.Int(s.flag, v, s.usage)
		case int64:
			fs.Int64(s.flag, v, s.usage)
		case bool:
			fs.Bool(s.flag, v, s.usage)
		case time.Duration:
			fs.Duration(s.flag, v, s.usage)
		case []string:
			fs.StringSlice(s.flag, v, s.usage)
		case map[string]string:
			fs.StringToString(s.flag, v, s.usage)
			if len(v) == 0 {
				fs.Lookup(s.flag).DefValue = "" // not "(default [])"
			}
		}
	}
}

// variable is the setting's environment variable.
func (s setting) variable() string {
	var b strings.Builder
	b.WriteString(envPrefix)
	lower := false
	for _, r := range s.path {
		switch {
		case r == '.':
			b.WriteByte('_')
			lower = false
			continue
		case r >= 'A' && r <= 'Z' && lower:
			b.WriteByte('_')
		}
		lower = r >= 'a' && r <= 'z'
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

// field returns the field of a struct that has the path.
func field(v reflect.Value, path string) reflect.Value {
	name, rest, deeper := strings.Cut(path, ".")
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("mapstructure") == ",squash" {
			if inner := field(v.Field(i), path); inner.IsValid() {
				return inner
			}
		}
		if v.Type().Field(i).Tag.Get("mapstructure") == name {
			if deeper {
				return field(v.Field(i), rest)
			}
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

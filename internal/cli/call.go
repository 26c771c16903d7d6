package cli

import (
	"bufio"
	"cmp"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/apitoken"
	"github.com/carillon-cron/carillon/job"
)

// call is one call of the command as its verbs see it: the world, the global flags, and
// what tests put in place of the clock. The verbs of each noun are a type of their own
// that has it.
type call struct {
	printer
	clock
	scope

	opts      Options
	env       map[string]string
	server    string
	caFile    string
	tokenFile string
	// context is the name of the one that is meant, by --context; empty: the current one.
	context string
	timeout time.Duration
	// reason is why something is asked for, by --reason.
	reason string
	// raw: a terminal gets everything as it is.
	raw bool
	// patience is how long a wait bears a server that does not answer.
	patience time.Duration
	// again is the pause before a stream of changes that has ended is read anew, so that
	// a server that comes back is not asked at once by all.
	again  time.Duration
	client *client.Client
	// etcd says that the verb works over etcd, and closeEtcd ends that; nil: it does not.
	etcd      etcdFlags
	closeEtcd func()
	// loggedIn: the client shows a login that is kept.
	loggedIn bool
	// code is the exit code of a verb that ended without an error.
	code int
}

// envCA is the variable for --ca.
const envCA = "CARILLON_CA"

// authorities reads the file of --ca.
func (ca *call) authorities() ([]byte, error) {
	if ca.caFile == "" || strings.HasPrefix(ca.server, "unix://") { // there is no certificate on a socket, by which the file may just be fetched
		return nil, nil
	}
	text, err := os.ReadFile(ca.caFile)
	if err != nil {
		return nil, usagef("--ca (env %s): %w", envCA, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, usagef("--ca (env %s) %s: there is no certificate in it; `carillon minions authority` prints the cluster's", envCA, ca.caFile)
	}
	return text, nil
}

// The variables for a token of the API, and for --token-file. CARILLON_TOKEN is another
// thing: the fencing token of a job's process.
const (
	envToken     = "CARILLON_API_TOKEN"
	envTokenFile = "CARILLON_API_TOKEN_FILE"
)

// maxTokenFile bounds what is read of a file with a token.
const maxTokenFile = 4096

// token returns the token that is shown to the API; empty: none.
func (ca *call) token() (string, error) {
	if ca.tokenFile != "" {
		return tokenIn(ca.tokenFile, "--token-file (env "+envTokenFile+")")
	}
	text := strings.TrimSpace(ca.env[envToken])
	if text == "" {
		return ca.keptLogin()
	}
	if _, err := apitoken.Parse(text); err != nil {
		return "", usagef("%s: %w", envToken, err)
	}
	return text, nil
}

// tokenIn reads a token from the file that a flag names. Which file that is, is for the
// one who runs the command to say.
func tokenIn(path, flag string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usagef("%s: %w", flag, err)
	}
	defer f.Close()
	read, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", usagef("%s: %w", flag, err)
	}
	text := strings.TrimSpace(string(read))
	if _, err := apitoken.Parse(text); err != nil {
		return "", usagef("%s %s: %w", flag, path, err)
	}
	return text, nil
}

// newClient returns a client of the server that the flags name.
func (ca *call) newClient() (*client.Client, error) {
	roots, err := ca.authorities()
	if err != nil {
		return nil, err
	}
	token, err := ca.token()
	if err != nil {
		return nil, err
	}
	return ca.made(roots, token)
}

// clientWith is newClient with a token of its own; empty: none is shown.
func (ca *call) clientWith(token string) (*client.Client, error) {
	roots, err := ca.authorities()
	if err != nil {
		return nil, err
	}
	return ca.made(roots, token)
}

func (ca *call) made(roots []byte, token string) (*client.Client, error) {
	c, err := client.New(client.Config{Server: ca.server, CA: roots, Token: token, Agent: "carillon/" + ca.version(), By: ca.user()})
	switch {
	case errors.Is(err, client.ErrTokenInClear):
		return nil, usagef("%w with --server or %s", err, envServer)
	case err != nil:
		return nil, usagef("--%w", err)
	}
	return c, nil
}

// briefly bounds questions to the server that are not what the user came for.
const briefly = time.Second

func (ca *call) version() string { return orText(ca.opts.Version, "dev") }

func (ca *call) ownVersion() api.Version {
	return api.Version{Version: ca.version(), Commit: ca.opts.Commit, Go: runtime.Version()}
}

// exitAs has the exit code follow how a run has ended.
func (ca *call) exitAs(r *job.Run) {
	if ca.code = r.State.ExitCode(); r.Partly() {
		ca.code = exitPartly
	}
}

// user is who asks.
func (ca *call) user() string {
	if name := cmp.Or(ca.env["USER"], ca.env["LOGNAME"]); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// confirmed reads the answer to a question. No answer is a no.
func (ca *call) confirmed() bool {
	answer, _ := bufio.NewReader(ca.opts.Stdin).ReadString('\n')
	s := strings.ToLower(strings.TrimSpace(answer))
	return s == "y" || s == "yes"
}

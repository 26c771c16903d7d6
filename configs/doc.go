// Package configs holds the settings of the daemons: their defaults, how they
// are read and how they are checked. Only commands and internal/app read it;
// packages take their own Config.
//
// Settings come, the later winning, from the defaults, a YAML file (--config),
// the environment (CARILLON_ and the path in capitals, with _ for a dot:
// CARILLON_ETCD_ENDPOINTS) and flags. A setting that is not known is an error.
package configs

package nat_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/nat"
)

// everyKnob is a configuration without a zero field; it need not be valid.
func everyKnob(t *testing.T) nat.Config {
	t.Helper()
	var c nat.Config
	fill(reflect.ValueOf(&c).Elem())
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("the test leaves %s at zero", v.Type().Field(i).Name)
		}
	}
	return c
}

func fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = addr("203.0.113.1")
		return
	case *netip.Prefix:
		*x = netip.MustParsePrefix("10.0.0.0/8")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		v.SetUint(1)
	}
}

// A profile file holds every knob and comes back as it was.
func TestProfileFileRoundTrip(t *testing.T) {
	for name, c := range map[string]nat.Config{"every knob": everyKnob(t), "zero": {}} {
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back nat.Config
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v in %s", name, err, b)
		}
		if !reflect.DeepEqual(back, c) {
			t.Errorf("%s:\n wrote %+v\n read  %+v", name, c, back)
		}
	}
	for _, name := range nat.Profiles() {
		c, err := nat.ParseProfile(name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "profile.json")
		b, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := nat.LoadProfile(path)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: %v:\n wrote %+v\n read  %+v", name, err, c, back)
		}
	}
}

// The words of a file are those of the RFCs.
func TestProfileFileWords(t *testing.T) {
	const file = `{
		"schema": 1,
		"external": ["203.0.113.1", "203.0.113.2"],
		"mapping": "address-dependent",
		"filtering": "address-and-port-dependent",
		"tcp_filtering": "endpoint-independent",
		"allocation": "sequential",
		"step": 2,
		"port_min": 40000, "port_max": 49999,
		"lifetime": "2m", "lifetime_answered": "5m",
		"port_lifetimes": [{"port": 53, "lifetime": "10s"}],
		"refresh": "both",
		"hairpin": "external source",
		"unsolicited_tcp": "ICMP after 6 s",
		"refusal": "host unreachable",
		"fragments": "any order"
	}`
	var c nat.Config
	if err := json.Unmarshal([]byte(file), &c); err != nil {
		t.Fatal(err)
	}
	want := nat.Config{
		External: []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")},
		Mapping:  ad, Filtering: apd, TCPFiltering: nat.Only(ei), Allocation: nat.Sequential, Step: 2,
		PortMin: 40000, PortMax: 49999, Lifetime: 2 * time.Minute, LifetimeAnswered: 5 * time.Minute,
		PortLifetimes: []nat.PortLifetime{{Port: 53, Lifetime: 10 * time.Second}},
		Refresh:       nat.RefreshBoth, Hairpin: nat.HairpinExternalSource, UnsolicitedTCP: nat.UnsolicitedDelayed,
		Refusal: nat.RefuseUnreachable, Fragments: nat.FragmentsAnyOrder,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("read %+v\nwant %+v", c, want)
	}
	if _, err := nat.New(c); err != nil {
		t.Error(err)
	}
}

func TestBadProfileFiles(t *testing.T) {
	for _, tc := range []struct{ name, file, want string }{
		{"no schema", `{}`, `expected "schema": 1`},
		{"another schema", `{"schema": 2}`, "schema 2"},
		{"unknown knob", `{"schema": 1, "maping": "none"}`, `"maping"`},
		{"unknown word", `{"schema": 1, "mapping": "symmetric"}`, `want endpoint-independent, address-dependent, `},
		{"number for a word", `{"schema": 1, "filtering": 2}`, "filtering"},
		{"time without unit", `{"schema": 1, "lifetime": "30"}`, "unit"},
		{"not JSON", "{\n  \"schema\": 1,\n  nonsense}", "line 3, column 3"},
		{"time before time", `{"schema": 1, "lifetime": "-3s"}`, "negative lifetime"},
		{"what cannot be together", `{"schema": 1, "overlap": true}`, "overlapping ports need"},
		{"IPv4 expected", `{"schema": 1, "external": ["here"]}`, "here"},
	} {
		path := filepath.Join(t.TempDir(), "p.json")
		if err := os.WriteFile(path, []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := nat.LoadProfile(path); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q in it", tc.name, err, tc.want)
		}
	}
	if _, err := nat.LoadProfile(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nat.LoadProfile(big); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("big file: %v", err)
	}
	if _, err := nat.ParseProfile("conical"); !errors.Is(err, nat.ErrNoProfile) || !strings.Contains(err.Error(), "port-restricted") {
		t.Errorf("unknown name: %v", err)
	}
}

// FuzzProfile: any bytes give an error or a configuration that survives being
// written and read again.
func FuzzProfile(f *testing.F) {
	f.Add([]byte(`{"schema":1,"mapping":"address-dependent","port_lifetimes":[{"port":53,"lifetime":"1s"}]}`))
	f.Add([]byte(`{"schema":1,"subscribers":"10.0.0.0/8","exempt":[{"prefix":"192.0.2.0/24"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, back nat.Config
		if json.Unmarshal(b, &c) != nil {
			return
		}
		out, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(out) {
			t.Fatalf("%v:\n%s\n%s", err, out, again)
		}
		if n, err := nat.New(c); err == nil {
			n.Outbound(start, nil)
		}
	})
}

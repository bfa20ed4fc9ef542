// A DTLS 1.2 peer built on pion: PSK with AES_128_CCM_8 and Connection ID, driven by lines, telling in lines.
//
//	pion-dtls server PORT IDENTITY KEY_HEX    echoes what it receives
//	pion-dtls client PORT IDENTITY KEY_HEX    sends each line of stdin, and tells the answer: "answer TEXT"
//	pion-dtls version
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
)

func main() {
	if os.Args[1] == "version" {
		info, _ := debug.ReadBuildInfo()
		for _, module := range info.Deps {
			if strings.HasPrefix(module.Path, "github.com/pion/dtls") {
				fmt.Println(strings.TrimPrefix(module.Version, "v"))
			}
		}
		return
	}
	port, err := strconv.Atoi(os.Args[2])
	check(err)
	key, err := hex.DecodeString(os.Args[4])
	check(err)
	config := &dtls.Config{
		PSK:                  func([]byte) ([]byte, error) { return key, nil },
		PSKIdentityHint:      []byte(os.Args[3]),
		CipherSuites:         []dtls.CipherSuiteID{dtls.TLS_PSK_WITH_AES_128_CCM_8},
		ExtendedMasterSecret: dtls.RequireExtendedMasterSecret,
	}
	address := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	if os.Args[1] == "server" {
		config.ConnectionIDGenerator = dtls.RandomCIDGenerator(8)
		serve(address, config)
	} else {
		config.ConnectionIDGenerator = dtls.OnlySendCIDGenerator()
		ask(address, config)
	}
}

func serve(address *net.UDPAddr, config *dtls.Config) {
	listener, err := dtls.Listen("udp", address, config)
	check(err)
	fmt.Println("listening")
	for {
		accepted, err := listener.Accept()
		if err != nil {
			fmt.Println("failed", err)
			continue
		}
		go func() {
			buffer := make([]byte, 2048)
			for {
				n, err := accepted.Read(buffer)
				if err != nil {
					return
				}
				fmt.Println("received", string(buffer[:n]))
				_, err = accepted.Write(buffer[:n])
				check(err)
			}
		}()
	}
}

func ask(address *net.UDPAddr, config *dtls.Config) {
	connection, err := dtls.Dial("udp", address, config)
	check(err)
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	check(connection.HandshakeContext(limit))
	fmt.Println("connected")
	lines := bufio.NewScanner(os.Stdin)
	buffer := make([]byte, 2048)
	for lines.Scan() {
		_, err = connection.Write(lines.Bytes())
		check(err)
		n, err := connection.Read(buffer)
		check(err)
		fmt.Println("answer", string(buffer[:n]))
	}
	check(connection.Close())
}

func check(err error) {
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

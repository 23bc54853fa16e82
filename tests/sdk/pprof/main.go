// A program under profile. `serve` lets itself be scraped at the address that it prints, until its input ends;
// `push URL` sends its profiles by Pyroscope's SDK for a while. What it does all the time has names that a test looks
// for in the profiles: main.allocate, main.compute, main.contend, main.wait.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/felixge/fgprof"
	"github.com/grafana/pyroscope-go"
	_ "github.com/grafana/pyroscope-go/godeltaprof/http/pprof"
)

var (
	kept [64][]byte
	sum  uint64
	lock sync.Mutex
	turn = make(chan int)
)

//go:noinline
func allocate(i int) {
	kept[i%len(kept)] = make([]byte, 64<<10)
}

//go:noinline
func compute() {
	for i := uint64(0); i < 1<<20; i++ {
		sum = sum*31 + i
	}
}

//go:noinline
func contend() {
	lock.Lock()
	time.Sleep(time.Millisecond)
	lock.Unlock()
}

//go:noinline
func wait() int {
	return <-turn
}

func work() {
	// Everything that happens is in the profiles, not a part of it.
	runtime.MemProfileRate = 4096
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	go func() {
		for i := 0; ; i++ {
			allocate(i)
			compute()
			turn <- i
			time.Sleep(2 * time.Millisecond)
		}
	}()
	go func() {
		for {
			wait()
		}
	}()
	for range 2 {
		go func() {
			for {
				contend()
			}
		}()
	}
}

func serve() error {
	http.Handle("/debug/fgprof", fgprof.Handler())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		log.Fatal(http.Serve(listener, nil))
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func push(url string) error {
	profiler, err := pyroscope.Start(pyroscope.Config{
		ApplicationName: "pushed.go",
		ServerAddress:   url,
		Tags:            map[string]string{"client": "pyroscope-go"},
		UploadRate:      time.Second,
		Logger:          pyroscope.StandardLogger,
		ProfileTypes: []pyroscope.ProfileType{
			pyroscope.ProfileCPU,
			pyroscope.ProfileAllocObjects,
			pyroscope.ProfileAllocSpace,
			pyroscope.ProfileInuseObjects,
			pyroscope.ProfileInuseSpace,
			pyroscope.ProfileGoroutines,
			pyroscope.ProfileMutexCount,
			pyroscope.ProfileMutexDuration,
			pyroscope.ProfileBlockCount,
			pyroscope.ProfileBlockDuration,
		},
	})
	if err != nil {
		return err
	}
	time.Sleep(4 * time.Second)
	return profiler.Stop()
}

func main() {
	work()
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 3 && os.Args[1] == "push":
		err = push(os.Args[2])
	default:
		err = fmt.Errorf("usage: %s serve | push URL", os.Args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

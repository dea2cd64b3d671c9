module ngrokd.test/bench/ingress

go 1.19

module kennel

go 1.19

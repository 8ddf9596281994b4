// A PostgreSQL server of a test's own: a new cluster in a temporary folder, a unix socket beside
// it, nothing on the network; stopped and deleted with the object. initdb refuses root, so root
// becomes the user `postgres` for it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

namespace tg::ledger {

class PostgresServer {
 public:
  // nullptr, with the reason in `why`, if the server's programs are not installed.
  static std::unique_ptr<PostgresServer> start(std::string& why) {
    constexpr const char* kPrograms = "/usr/lib/postgresql/15/bin/";
    if (!std::filesystem::exists(std::string(kPrograms) + "initdb")) {
      why = "postgresql-15 is not installed";
      return nullptr;
    }
    // A socket's path must be short.
    std::string folder = testing::TempDir() + "tg_pg_XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) {
      why = "no temporary folder";
      return nullptr;
    }
    std::unique_ptr<PostgresServer> server(new PostgresServer(folder, kPrograms));
    bool is_up =
        server->run("initdb -A trust -U tokengrid -E UTF8 --no-locale -D " + folder + "/d") &&
        server->start_server();
    if (is_up) return server;
    why = "postgresql did not start in " + folder;
    return nullptr;
  }
  ~PostgresServer() {
    run("pg_ctl stop -m immediate -w -D " + folder_ + "/d");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  std::string address(const std::string& database) const {
    return "host=" + folder_ + " user=tokengrid dbname=" + database;
  }
  std::string socket_path() const { return folder_ + "/.s.PGSQL.5432"; }
  bool create_database(const std::string& name) {
    return run("createdb -h " + folder_ + " -U tokengrid " + name);
  }
  bool start_server() {
    return run("pg_ctl start -w -D " + folder_ + "/d -l " + folder_ +
               "/log -o \"-c listen_addresses='' -k " + folder_ + "\"");
  }
  // As a crash: no checkpoint, recovery on the next start.
  bool kill_server() { return run("pg_ctl stop -m immediate -w -D " + folder_ + "/d"); }

 private:
  PostgresServer(std::string folder, std::string programs)
      : folder_(std::move(folder)), programs_(std::move(programs)) {
    if (geteuid() != 0) return;
    as_user_ = "setpriv --reuid=postgres --regid=postgres --clear-groups ";
    is_ready_ = std::system(("chown postgres:postgres " + folder_).c_str()) == 0;
  }
  bool run(const std::string& command) {
    std::string line =
        "cd " + folder_ + " && " + as_user_ + programs_ + command + " >>" + folder_ + "/out 2>&1";
    return is_ready_ && std::system(line.c_str()) == 0;
  }

  std::string folder_;
  std::string programs_;
  std::string as_user_;
  bool is_ready_ = true;
};

}  // namespace tg::ledger

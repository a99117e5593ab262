-- CreateTable
CREATE TABLE "Asset" (
    "id" SERIAL NOT NULL,

    CONSTRAINT "Asset_pkey" PRIMARY KEY ("id")
);

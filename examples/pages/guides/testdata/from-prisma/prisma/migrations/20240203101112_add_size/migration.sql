-- AlterTable
ALTER TABLE "Asset" ADD COLUMN "size" BIGINT;
